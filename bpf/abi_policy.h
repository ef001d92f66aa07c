/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The layout of the tables of policies: who may connect to a protected pod. */
#ifndef WEFT_ABI_POLICY_H
#define WEFT_ABI_POLICY_H

#include "abi.h"

/* Identity and port of struct weft_grant: every client, every port. */
#define WEFT_ANY_CLIENT 0
#define WEFT_ANY_PORT	0

/*
 * The policy set of an address of a protected pod. `check` is a hash of the row and its key: the
 * kernel can recycle a hash element while a program reads it.
 */
struct weft_server {
	u64 policy_set;
	u64 check;
};

/*
 * How many connections and datagrams policies have decided at an address: those that are enforced,
 * and those that are in force together with audited ones. Only counts: a program can still add to
 * an element that the kernel has recycled.
 */
struct weft_verdicts {
	u64 allowed;
	u64 refused;
	u64 audit_allowed;
	u64 audit_refused;
};

/* The identities of a source address. `check` as above. */
struct weft_peer {
	u64 account_id;
	u64 namespace_id;
	u64 check;
};

/*
 * A protected address as a destination of clients of this node: the policy set of the pod, and the
 * index of the policy that a refusal names. `check` as above.
 */
struct weft_destination {
	u64 policy_set;
	u64 policy;
	u64 check;
};

/* The identities of a pod of this node. `cgroup_id` repeats the key, as in struct weft_pod. */
struct weft_identity {
	u64 account_id;
	u64 namespace_id;
	u64 cgroup_id;
};

/* The addresses of a protected pod, zeros for a family that it has none of. `check` as above. */
struct weft_protected {
	struct weft_address address4;
	struct weft_address address6;
	u64 check;
};

/* The two ends of datagrams between a protected pod (`local`) and a peer. */
struct weft_udp_ends {
	struct weft_address local;
	struct weft_address remote;
	u16 local_port;
	u16 remote_port;
	u32 spare;
};

/* A row exists: the policy set admits this identity at this port of the server. */
struct weft_grant {
	u64 policy_set;
	u64 identity;
	u32 port;
	u32 spare;
};

#endif
