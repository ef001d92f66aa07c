/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one decision that connect and sendmsg share; agent/kernel/oracle.py says the same in Python.
 */
#ifndef WEFT_DECIDE_H
#define WEFT_DECIDE_H

#include "address.h"
#include "client.h"
#include "lookup.h"
#include "select.h"
#include "sticky.h"

enum outcome {
	OUTCOME_PASS,	 /* leave the destination as it is */
	OUTCOME_REWRITE, /* go to choice.address and choice.port */
	OUTCOME_REFUSE,	 /* ECONNREFUSED: nobody is there */
	OUTCOME_DENY,	 /* EPERM: policy */
};

/*
 * `client` is 0 for those that are not in the mesh and let be, `now` for what nobody observes.
 * `policy` is the index of the policy that decided, at most 24 bits; 0: none.
 */
struct choice {
	struct weft_address address;
	u16 port;
	u32 reason;
	u64 service_id;
	u64 client;
	u64 workload_id;
	u64 now;
	u32 policy;
};

static __always_inline bool is_waypoint(const struct weft_config *config,
					const struct weft_address *address)
{
	if (is_unspecified(address))
		return false;
	if (same_address(address, &config->waypoint4) || same_address(address, &config->waypoint6))
		return true;
#pragma unroll
	for (int i = 0; i < WEFT_BESIDE; i++) {
		if (same_address(address, &config->beside[i]))
			return true;
	}
	return false;
}

static __always_inline void write_policy(u8 *bytes, const struct choice *choice)
{
	bytes[0] = choice->policy;
	bytes[1] = choice->policy >> 8;
	bytes[2] = choice->policy >> 16;
}

static __always_inline enum outcome end(struct choice *choice, u32 reason, enum outcome outcome)
{
	choice->reason = reason;
	return outcome;
}

/* No slot is a way around the refusal to dial a waypoint: slices are written by users. */
static __always_inline enum outcome
rewrite(const struct weft_config *config, const struct weft_backend *backend, struct choice *choice)
{
	choice->address = backend->address;
	choice->port = backend->port;
	if (is_waypoint(config, &backend->address))
		return end(choice, WEFT_WAYPOINT_DIALLED, OUTCOME_DENY);
	return end(choice, WEFT_FORWARDED, OUTCOME_REWRITE);
}

static __always_inline enum outcome draw(u32 base, u32 columns, bool ipv4,
					 struct weft_backend *backend, struct choice *choice)
{
	struct weft_slot *slot = pick(base, columns);

	if (!slot)
		return end(choice, WEFT_NO_BACKEND, OUTCOME_REFUSE);
	if (slot->reject)
		return end(choice, WEFT_SHARE_REJECTED, OUTCOME_REFUSE);
	/* No port: never written. The other family: an IPv4 socket cannot go there. */
	if (!slot->port || is_ipv4(&slot->address) != ipv4)
		return end(choice, WEFT_NO_BACKEND, OUTCOME_REFUSE);
	backend->address = slot->address;
	backend->port = slot->port;
	return OUTCOME_REWRITE;
}

static __always_inline enum outcome forward(const struct weft_config *config, u64 word,
					    struct sticky *sticky, bool ipv4, struct choice *choice)
{
	u32 base = word;
	u32 columns = (word >> 32) & 0xffffff;
	struct weft_backend backend = {};
	enum outcome outcome;

	if (!columns)
		return end(choice, WEFT_NO_BACKEND, OUTCOME_REFUSE);
	if (kept_by_socket(sticky, base, columns, &backend))
		return rewrite(config, &backend, choice);
	if (!kept_by_pod(sticky, base, columns, &backend)) {
		outcome = draw(base, columns, ipv4, &backend, choice);
		if (outcome != OUTCOME_REWRITE)
			return outcome;
		keep_by_pod(sticky, &backend);
	}
	keep_by_socket(sticky, &backend);
	return rewrite(config, &backend, choice);
}

static __always_inline enum outcome to_waypoint(const struct weft_config *config,
						const struct weft_service *service, bool stream,
						bool ipv4, struct choice *choice)
{
	choice->address = ipv4 ? config->waypoint4 : config->waypoint6;
	choice->port = service->waypoint_port;
	if (!stream || !choice->port || is_unspecified(&choice->address))
		return end(choice, WEFT_WAYPOINT_LOST, OUTCOME_REFUSE);
	return end(choice, WEFT_TO_WAYPOINT, OUTCOME_REWRITE);
}

/* A reason that is none can only be a broken word; it is counted as the plainest refusal. */
static __always_inline enum outcome refuse(u32 reason, struct choice *choice)
{
	return end(choice, reason < WEFT_REASONS ? reason : WEFT_NO_BACKEND, OUTCOME_REFUSE);
}

/* The waypoint's traffic, also while there is no waypoint. */
static __always_inline bool belongs_at_waypoint(u64 word)
{
	if (word >> 56 == WEFT_ACTION_REJECT)
		return (u32)word == WEFT_WAYPOINT_LOST;
	return word >> 56 == WEFT_ACTION_WAYPOINT;
}

static __always_inline enum outcome follow_word(const struct weft_config *config, u32 index,
						const struct client *client,
						const struct weft_frontend *key,
						struct choice *choice)
{
	u64 *row = word_row(2 * index + (client->mode != WEFT_MODE_L4));
	struct weft_service *service = service_row(index);
	struct sticky sticky = {};
	bool ipv4 = is_ipv4(&key->address);
	u64 word;

	if (!row || !service)
		return end(choice, WEFT_NO_FRONTEND, OUTCOME_PASS);
	word = READ_ONCE(*row);
	choice->service_id = service->service_id;
	/* A waypoint would refuse who has no address of its own: let it go as without a mesh. */
	if ((client->flags & WEFT_POD_L4_ONLY) && belongs_at_waypoint(word))
		return end(choice, WEFT_PASSED, OUTCOME_PASS);
	switch (word >> 56) {
	case WEFT_ACTION_FORWARD:
		stick(&sticky, client, key, service);
		return forward(config, word, &sticky, ipv4, choice);
	case WEFT_ACTION_WAYPOINT:
		return to_waypoint(config, service, key->protocol == IPPROTO_TCP, ipv4, choice);
	case WEFT_ACTION_REJECT:
		return refuse(word, choice);
	default:
		return end(choice, WEFT_PASSED, OUTCOME_PASS);
	}
}

static __always_inline enum outcome decide_unknown(const struct weft_config *config,
						   struct choice *choice)
{
	if (config->unknown_pod == WEFT_UNKNOWN_REJECT)
		return end(choice, WEFT_UNKNOWN_POD_REJECTED, OUTCOME_DENY);
	return end(choice, WEFT_UNKNOWN_POD, OUTCOME_PASS);
}

/*
 * `key` is the destination; its namespace is filled in here. `udp_socket` is the cookie of a UDP
 * socket, else 0. Nobody dials the waypoint itself but the agent, which tries its listeners.
 */
static __always_inline enum outcome decide(struct weft_frontend *key, u64 udp_socket,
					   struct choice *choice)
{
	struct weft_config *config = current_config();
	struct client client = {.udp_socket = udp_socket};
	u32 index = WEFT_NO_INDEX;
	bool known;

	if (!config)
		return end(choice, WEFT_UNKNOWN_POD, OUTCOME_PASS);
	known = find_client(config, &client);
	if (is_waypoint(config, &key->address) && !(client.flags & WEFT_POD_AGENT)) {
		choice->client = client.cgroup_id;
		return end(choice, WEFT_WAYPOINT_DIALLED, OUTCOME_DENY);
	}
	if (!known)
		return decide_unknown(config, choice);
	if (client.mode == WEFT_MODE_NONE)
		return end(choice, WEFT_NOT_ENROLLED, OUTCOME_PASS);
	choice->client = client.cgroup_id;
	choice->workload_id = client.workload_id;
	if (client.flags & WEFT_POD_CONSUMER_ROUTES) {
		key->namespace_id = client.namespace_id;
		index = find_frontend(key);
		key->namespace_id = 0;
	}
	if (index == WEFT_NO_INDEX)
		index = find_frontend(key);
	if (index == WEFT_NO_INDEX)
		return end(choice, WEFT_NO_FRONTEND, OUTCOME_PASS);
	return follow_word(config, index, &client, key, choice);
}

#endif
