/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decision for connect and sendmsg; agent/kernel/oracle/ implements the same in Python. */
#ifndef WEFT_DECIDE_H
#define WEFT_DECIDE_H

#include "address.h"
#include "client.h"
#include "connections.h"
#include "destination.h"
#include "lookup.h"
#include "select.h"
#include "affinity.h"

enum verdict {
	VERDICT_PASS,	 /* leave the destination as it is */
	VERDICT_REWRITE, /* connect to decision.address and decision.port */
	VERDICT_REFUSE,	 /* ECONNREFUSED: nothing serves this destination */
	VERDICT_DENY,	 /* EPERM: forbidden */
};

/*
 * `client` is 0 where the client is not in the mesh and passes. `pod` is the cgroup id of the
 * client, 0 where it is unknown. `now` is 0 where no event and no
 * flow is recorded. `policy` is the index of the policy that decided, at most 24 bits; 0: none.
 * `selected`: the backend is not one that the socket kept.
 */
struct decision {
	struct weft_address address;
	u16 port;
	u32 reason;
	u64 service_id;
	u64 client;
	u64 pod;
	u64 workload_id;
	u64 now;
	u32 policy;
	bool selected;
};

static __always_inline bool is_waypoint(const struct weft_config *config,
					const struct weft_address *address)
{
	if (is_unspecified(address))
		return false;
	if (same_address(address, &config->waypoint4) || same_address(address, &config->waypoint6))
		return true;
#pragma unroll
	for (int i = 0; i < WEFT_OTHER_WAYPOINTS; i++) {
		if (same_address(address, &config->other_waypoints[i]))
			return true;
	}
	return false;
}

static __always_inline void write_policy(u8 *bytes, const struct decision *decision)
{
	bytes[0] = decision->policy;
	bytes[1] = decision->policy >> 8;
	bytes[2] = decision->policy >> 16;
}

static __always_inline enum verdict finish(struct decision *decision, u32 reason,
					   enum verdict verdict)
{
	decision->reason = reason;
	return verdict;
}

/* Pods must not dial a waypoint by way of a slot either: users write EndpointSlices. */
static __always_inline enum verdict rewrite(const struct weft_config *config,
					    const struct weft_backend *backend,
					    struct decision *decision)
{
	decision->address = backend->address;
	decision->port = backend->port;
	if (is_waypoint(config, &backend->address))
		return finish(decision, WEFT_WAYPOINT_DIALLED, VERDICT_DENY);
	return finish(decision, WEFT_FORWARDED, VERDICT_REWRITE);
}

static __always_inline enum verdict select_backend(u32 base, u32 columns, bool ipv4,
						   struct weft_backend *backend,
						   struct decision *decision)
{
	struct weft_slot *slot = select_slot(base, columns);

	if (!slot)
		return finish(decision, WEFT_NO_BACKEND, VERDICT_REFUSE);
	if (slot->reject)
		return finish(decision, WEFT_SHARE_REJECTED, VERDICT_REFUSE);
	/*
	 * Port 0: the agent never wrote this slot. Other family: an IPv4 socket cannot connect to
	 * IPv6.
	 */
	if (!slot->port || is_ipv4(&slot->address) != ipv4)
		return finish(decision, WEFT_NO_BACKEND, VERDICT_REFUSE);
	backend->address = slot->address;
	backend->port = slot->port;
	return VERDICT_REWRITE;
}

static __always_inline enum verdict forward(const struct weft_config *config, u64 action,
					    struct affinity *affinity, bool ipv4,
					    struct decision *decision)
{
	u32 base = action;
	u32 columns = (action >> 32) & 0xffffff;
	struct weft_backend backend = {};
	enum verdict verdict;

	if (!columns)
		return finish(decision, WEFT_NO_BACKEND, VERDICT_REFUSE);
	if (affinity_lookup_socket(affinity, base, columns, &backend))
		return rewrite(config, &backend, decision);
	if (!affinity_lookup_pod(affinity, base, columns, &backend)) {
		verdict = select_backend(base, columns, ipv4, &backend, decision);
		if (verdict != VERDICT_REWRITE)
			return verdict;
		affinity_update_pod(affinity, &backend);
	}
	decision->selected = true;
	return rewrite(config, &backend, decision);
}

static __always_inline enum verdict to_waypoint(const struct weft_config *config,
						const struct weft_service *service,
						u64 namespace_id, bool stream, bool ipv4,
						struct decision *decision)
{
	decision->address = ipv4 ? config->waypoint4 : config->waypoint6;
	decision->port = service->waypoint_port;
	if (!stream || !decision->port || is_unspecified(&decision->address))
		return finish(decision, WEFT_WAYPOINT_LOST, VERDICT_REFUSE);
	if (!below_connection_limit(config, namespace_id))
		return finish(decision, WEFT_OVER_BUDGET, VERDICT_REFUSE);
	return finish(decision, WEFT_TO_WAYPOINT, VERDICT_REWRITE);
}

/* An unknown reason means a corrupt action; it is counted as NO_BACKEND. */
static __always_inline enum verdict refuse(u32 reason, struct decision *decision)
{
	return finish(decision, reason < WEFT_REASONS ? reason : WEFT_NO_BACKEND, VERDICT_REFUSE);
}

/* Whether this traffic goes to the waypoint, or is refused because the waypoint is lost. */
static __always_inline bool is_waypoint_action(u64 action)
{
	if (action >> 56 == WEFT_ACTION_REJECT)
		return (u32)action == WEFT_WAYPOINT_LOST;
	return action >> 56 == WEFT_ACTION_WAYPOINT;
}

static __always_inline enum verdict apply_action(const struct weft_config *config, u32 index,
						 const struct client *client,
						 const struct weft_frontend *key,
						 struct decision *decision)
{
	u64 *row = action_row(2 * index + (client->mode != WEFT_MODE_L4));
	struct weft_service *service = service_row(index);
	struct affinity affinity = {};
	bool ipv4 = is_ipv4(&key->address);
	u64 action;

	if (!row || !service)
		return finish(decision, WEFT_NO_FRONTEND, VERDICT_PASS);
	action = READ_ONCE(*row);
	decision->service_id = service->service_id;
	/*
	 * The waypoint identifies clients by address. A pod without an address of its own would be
	 * refused there, so its connection passes unchanged.
	 */
	if ((client->flags & WEFT_POD_L4_ONLY) && is_waypoint_action(action))
		return finish(decision, WEFT_PASSED, VERDICT_PASS);
	switch (action >> 56) {
	case WEFT_ACTION_FORWARD:
		affinity_init(&affinity, client, key, service);
		return forward(config, action, &affinity, ipv4, decision);
	case WEFT_ACTION_WAYPOINT:
		return to_waypoint(config, service, client->namespace_id,
				   key->protocol == IPPROTO_TCP, ipv4, decision);
	case WEFT_ACTION_REJECT:
		return refuse(action, decision);
	default:
		return finish(decision, WEFT_PASSED, VERDICT_PASS);
	}
}

static __always_inline enum verdict decide_unknown(const struct weft_config *config,
						   struct decision *decision)
{
	if (config->unknown_pod == WEFT_UNKNOWN_REJECT)
		return finish(decision, WEFT_UNKNOWN_POD_REJECTED, VERDICT_DENY);
	return finish(decision, WEFT_UNKNOWN_POD, VERDICT_PASS);
}

/*
 * Refuses a connection that the policies of the server do not admit. Of datagrams only those to a
 * Service: one to an address may be a reply, for which the server has asked. Behind a waypoint the
 * waypoint judges.
 */
static __always_inline enum verdict judge_client(struct weft_frontend *key,
						 struct decision *decision, enum verdict verdict)
{
	struct weft_address address = key->address;
	u16 port = key->port;
	u32 policy;

	if (!has_destinations() || !decision->pod || decision->reason == WEFT_TO_WAYPOINT)
		return verdict;
	if (verdict == VERDICT_REWRITE) {
		address = decision->address;
		port = decision->port;
	} else if (verdict != VERDICT_PASS || key->protocol != IPPROTO_TCP) {
		return verdict;
	}
	policy = refusing_policy(&address, decision->pod, port);
	if (!policy)
		return verdict;
	decision->policy = policy;
	decision->client = decision->pod;
	decision->selected = false;
	return finish(decision, WEFT_POLICY_FORBIDS, VERDICT_REFUSE);
}

/*
 * `key` is the destination; this function sets its namespace. Only the agent may dial a waypoint:
 * it probes the listeners.
 */
static __always_inline enum verdict choose(struct weft_frontend *key, const struct udp_socket *udp,
					   struct decision *decision)
{
	struct weft_config *config = current_config();
	struct client client = {.udp = *udp};
	u32 index = WEFT_NO_INDEX;
	bool known;

	if (!config)
		return finish(decision, WEFT_UNKNOWN_POD, VERDICT_PASS);
	known = find_client(config, &client);
	decision->pod = client.cgroup_id;
	if (is_waypoint(config, &key->address) && !(client.flags & WEFT_POD_AGENT)) {
		decision->client = client.cgroup_id;
		return finish(decision, WEFT_WAYPOINT_DIALLED, VERDICT_DENY);
	}
	if (!known)
		return decide_unknown(config, decision);
	if (client.mode == WEFT_MODE_NONE)
		return finish(decision, WEFT_NOT_ENROLLED, VERDICT_PASS);
	decision->client = client.cgroup_id;
	decision->workload_id = client.workload_id;
	if (client.flags & WEFT_POD_CONSUMER_ROUTES) {
		key->namespace_id = client.namespace_id;
		index = find_frontend(key);
		key->namespace_id = 0;
	}
	if (index == WEFT_NO_INDEX)
		index = find_frontend(key);
	if (index == WEFT_NO_INDEX)
		return finish(decision, WEFT_NO_FRONTEND, VERDICT_PASS);
	return apply_action(config, index, &client, key, decision);
}

static __always_inline enum verdict decide(struct weft_frontend *key, const struct udp_socket *udp,
					   struct decision *decision)
{
	return judge_client(key, decision, choose(key, udp, decision));
}

#endif
