/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The client's end of policies: a connection to a protected pod, of this node or of another one,
 * fails in connect when the policies of the pod do not admit the client. The client is known by its
 * cgroup. What is not known here is not refused: the node of the server does that.
 */
#ifndef WEFT_DESTINATION_H
#define WEFT_DESTINATION_H

#include "address.h"
#include "lookup.h"
#include "maps.h"
#include "replies.h"

static __always_inline bool has_destinations(void)
{
	u64 *count = destination_count_row(0);

	return count && READ_ONCE(*count);
}

static __always_inline bool copy_destination(struct weft_address *address, u64 *policy_set,
					     u64 *policy)
{
	struct weft_destination *row = destination_row(address);

	if (!row)
		return false;
	*policy_set = READ_ONCE(row->policy_set);
	*policy = READ_ONCE(row->policy);
	return READ_ONCE(row->check) == row_check(*policy_set, *policy, address);
}

static __always_inline bool has_destination_grant(u64 policy_set, u64 identity, u32 port)
{
	struct weft_grant grant = {
	    .policy_set = policy_set, .identity = identity, .port = WEFT_ANY_PORT};

	if (destination_grant_row(&grant))
		return true;
	grant.port = port;
	return destination_grant_row(&grant);
}

/* A client without identities here, such as a pod that the agent has just seen, is admitted. */
static __always_inline bool set_admits_client(u64 policy_set, u64 cgroup_id, u32 port)
{
	struct weft_identity *row = identity_row(cgroup_id);
	u64 account_id, namespace_id;

	if (!row)
		return true;
	account_id = READ_ONCE(row->account_id);
	namespace_id = READ_ONCE(row->namespace_id);
	if (READ_ONCE(row->cgroup_id) != cgroup_id)
		return true;
	return has_destination_grant(policy_set, WEFT_ANY_CLIENT, port) ||
	       has_destination_grant(policy_set, account_id, port) ||
	       has_destination_grant(policy_set, namespace_id, port);
}

/* A pod may connect to its own address, whatever its policies are. */
static __always_inline bool has_address(u64 cgroup_id, const struct weft_address *address)
{
	struct weft_address own;

	return protected_address(cgroup_id, address, &own) && same_address(&own, address);
}

/*
 * The policy that refuses a client; 0: none does. The agent deletes the grants of a policy set when
 * no destination has it any more, possibly between the lookups: a destination that has another set
 * by then, or no row, is left to its own node.
 */
static __always_inline u32 refusing_policy(struct weft_address *address, u64 cgroup_id, u32 port)
{
	u64 policy_set, policy, after;

	if (!copy_destination(address, &policy_set, &policy) ||
	    set_admits_client(policy_set, cgroup_id, port) || has_address(cgroup_id, address))
		return 0;
	if (!copy_destination(address, &after, &policy) || after != policy_set)
		return 0;
	return policy;
}

#endif
