/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policies of a pod: which clients it admits. The programs run once for each connection, in the
 * network namespace of the server, as that of guard.h does. With `audited` the tables have what
 * would be in force if audited policies were enforced too.
 */
#ifndef WEFT_AUTHORIZE_H
#define WEFT_AUTHORIZE_H

#include "address.h"
#include "guard.h"
#include "lookup.h"
#include "maps.h"
#include "replies.h"

struct identities {
	u64 account_id;
	u64 namespace_id;
};

static __always_inline struct weft_address local_address(struct bpf_sk_lookup *ctx)
{
	struct weft_address local = {};
	u32 ip4 = READ_ONCE(ctx->local_ip4); /* as in source_address() */

	if (ctx->family == AF_INET6) {
		local.part[0] = ctx->local_ip6[0];
		local.part[1] = ctx->local_ip6[1];
		local.part[2] = ctx->local_ip6[2];
		local.part[3] = ctx->local_ip6[3];
	} else {
		local.part[2] = bpf_htonl(0xffff);
		local.part[3] = ip4;
	}
	return local;
}

static __always_inline bool is_loopback(const struct weft_address *address)
{
	if (is_ipv4(address))
		return (address->part[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(address->part[0] | address->part[1] | address->part[2]) &&
	       address->part[3] == bpf_htonl(1);
}

static __always_inline bool copy_server(struct weft_server *row, const struct weft_address *address,
					u64 *policy_set)
{
	*policy_set = READ_ONCE(row->policy_set);
	return READ_ONCE(row->check) == row_check(*policy_set, 0, address);
}

static __always_inline bool copy_peer(struct weft_peer *row, const struct weft_address *address,
				      struct identities *identities)
{
	identities->account_id = READ_ONCE(row->account_id);
	identities->namespace_id = READ_ONCE(row->namespace_id);
	return READ_ONCE(row->check) ==
	       row_check(identities->account_id, identities->namespace_id, address);
}

static __always_inline struct weft_server *row_of_server(struct weft_address *address, bool audited)
{
	return audited ? audited_row(address) : server_row(address);
}

static __always_inline bool find_server(struct weft_address *address, u64 *policy_set, bool audited)
{
	struct weft_server *row = row_of_server(address, audited);

	if (!row)
		return false;
	if (copy_server(row, address, policy_set))
		return true;
	counter_inc(WEFT_STALE_ROW);
	row = row_of_server(address, audited);
	return row && copy_server(row, address, policy_set);
}

/* False: no identity is known for this source address. */
static __always_inline bool find_peer(struct weft_address *address, struct identities *identities)
{
	struct weft_peer *row = peer_row(address);

	if (!row)
		return false;
	if (copy_peer(row, address, identities))
		return true;
	counter_inc(WEFT_STALE_ROW);
	row = peer_row(address);
	return row && copy_peer(row, address, identities);
}

static __always_inline bool has_grant(u64 policy_set, u64 identity, u32 port, bool audited)
{
	struct weft_grant grant = {
	    .policy_set = policy_set, .identity = identity, .port = WEFT_ANY_PORT};

	if (audited ? audited_grant_row(&grant) : grant_row(&grant))
		return true;
	grant.port = port;
	return audited ? audited_grant_row(&grant) : grant_row(&grant);
}

static __always_inline bool set_admits(u64 policy_set, struct weft_address *source, u32 port,
				       bool audited)
{
	struct identities identities;

	if (has_grant(policy_set, WEFT_ANY_CLIENT, port, audited))
		return true;
	return find_peer(source, &identities) &&
	       (has_grant(policy_set, identities.account_id, port, audited) ||
		has_grant(policy_set, identities.namespace_id, port, audited));
}

static __always_inline bool is_reply_to(struct bpf_sk_lookup *ctx, const struct weft_address *local,
					const struct weft_address *source)
{
	struct weft_udp_ends ends = {.local = *local, .remote = *source};

	ends.local_port = ctx->local_port;
	ends.remote_port = bpf_ntohs(ctx->remote_port);
	return is_reply(&ends);
}

/* Connections of the pod to itself, and replies to its datagrams: no policy decides about them. */
static __always_inline bool is_exempt(struct bpf_sk_lookup *ctx, const struct weft_address *local,
				      const struct weft_address *source)
{
	return is_loopback(local) || same_address(local, source) ||
	       (ctx->protocol == IPPROTO_UDP && is_reply_to(ctx, local, source));
}

/*
 * An address of the namespace without a row is refused: the agent has not seen it, such as a
 * link-local one, and it must be no way around the policies.
 *
 * The agent deletes the grants of a policy set when no server has it any more, possibly between the
 * two lookups. A server with another set now is judged once more, by that set.
 */
static __always_inline bool is_admitted(struct weft_address *local, struct weft_address *source,
					u32 port, bool audited)
{
	u64 policy_set, before = 0;

#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!find_server(local, &policy_set, audited))
			return false;
		if (attempt && policy_set == before)
			return false;
		if (set_admits(policy_set, source, port, audited))
			return true;
		before = policy_set;
	}
	return false;
}

static __always_inline void count_verdict(struct weft_address *local, bool admitted, bool audited)
{
	struct weft_verdicts *row = verdicts_row(local);

	if (!row)
		return;
	if (audited)
		__sync_fetch_and_add(admitted ? &row->audit_allowed : &row->audit_refused, 1);
	else
		__sync_fetch_and_add(admitted ? &row->allowed : &row->refused, 1);
}

#endif
