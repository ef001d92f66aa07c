/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of policies, and the calls of their BCC map methods: see maps.h. */
#ifndef WEFT_POLICY_MAPS_H
#define WEFT_POLICY_MAPS_H

#include "abi.h"
#include "abi_policy.h"
#include "compat.h"

BPF_F_TABLE("hash", struct weft_address, struct weft_server, weft_servers, WEFT_SERVERS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_address, struct weft_peer, weft_peers, WEFT_PEERS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_grant, u64, weft_grants, WEFT_GRANTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_address, struct weft_server, weft_audited, WEFT_SERVERS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_grant, u64, weft_audited_grants, WEFT_AUDITED_GRANTS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_address, struct weft_verdicts, weft_verdicts, WEFT_VERDICTS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", u32, u64, weft_destination_count, 1, 0);
BPF_F_TABLE("hash", struct weft_address, struct weft_destination, weft_destinations,
	    WEFT_DESTINATIONS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_grant, u64, weft_destination_grants, WEFT_DEST_GRANTS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", u64, struct weft_identity, weft_identities, WEFT_PODS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", u64, struct weft_protected, weft_protected, WEFT_SERVERS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("lru_hash", struct weft_udp_ends, u64, weft_udp_sent, WEFT_UDP_SENT, 0);

static __always_inline struct weft_server *server_row(struct weft_address *server)
{
	return weft_servers.lookup(server);
}

static __always_inline struct weft_peer *peer_row(struct weft_address *source)
{
	return weft_peers.lookup(source);
}

static __always_inline u64 *grant_row(struct weft_grant *grant)
{
	return weft_grants.lookup(grant);
}

static __always_inline struct weft_server *audited_row(struct weft_address *server)
{
	return weft_audited.lookup(server);
}

static __always_inline u64 *audited_grant_row(struct weft_grant *grant)
{
	return weft_audited_grants.lookup(grant);
}

static __always_inline struct weft_verdicts *verdicts_row(struct weft_address *server)
{
	return weft_verdicts.lookup(server);
}

static __always_inline u64 *destination_count_row(u32 row)
{
	return weft_destination_count.lookup(&row);
}

static __always_inline struct weft_destination *destination_row(struct weft_address *address)
{
	return weft_destinations.lookup(address);
}

static __always_inline u64 *destination_grant_row(struct weft_grant *grant)
{
	return weft_destination_grants.lookup(grant);
}

static __always_inline struct weft_identity *identity_row(u64 cgroup_id)
{
	return weft_identities.lookup(&cgroup_id);
}

static __always_inline struct weft_protected *protected_row(u64 cgroup_id)
{
	return weft_protected.lookup(&cgroup_id);
}

static __always_inline u64 *udp_sent_row(struct weft_udp_ends *ends)
{
	return weft_udp_sent.lookup(ends);
}

static __always_inline int udp_sent_write(struct weft_udp_ends *ends, u64 *now)
{
	return weft_udp_sent.update(ends, now);
}

#endif
