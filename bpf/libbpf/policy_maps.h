/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of policies for libbpf: see maps.h. */
#ifndef WEFT_POLICY_MAPS_H
#define WEFT_POLICY_MAPS_H

WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, struct weft_server, weft_servers, WEFT_SERVERS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, struct weft_peer, weft_peers, WEFT_PEERS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_grant, u64, weft_grants, WEFT_GRANTS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, struct weft_server, weft_audited, WEFT_SERVERS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_grant, u64, weft_audited_grants, WEFT_AUDITED_GRANTS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, struct weft_verdicts, weft_verdicts,
	   WEFT_VERDICTS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, u64, weft_destination_count, 1, 0);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, struct weft_destination, weft_destinations,
	   WEFT_DESTINATIONS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_grant, u64, weft_destination_grants, WEFT_DEST_GRANTS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, u64, struct weft_identity, weft_identities, WEFT_PODS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, u64, struct weft_protected, weft_protected, WEFT_SERVERS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_LRU_HASH, struct weft_udp_ends, u64, weft_udp_sent, WEFT_UDP_SENT, 0);

static __always_inline struct weft_server *server_row(struct weft_address *server)
{
	return bpf_map_lookup_elem(&weft_servers, server);
}

static __always_inline struct weft_peer *peer_row(struct weft_address *source)
{
	return bpf_map_lookup_elem(&weft_peers, source);
}

static __always_inline u64 *grant_row(struct weft_grant *grant)
{
	return bpf_map_lookup_elem(&weft_grants, grant);
}

static __always_inline struct weft_server *audited_row(struct weft_address *server)
{
	return bpf_map_lookup_elem(&weft_audited, server);
}

static __always_inline u64 *audited_grant_row(struct weft_grant *grant)
{
	return bpf_map_lookup_elem(&weft_audited_grants, grant);
}

static __always_inline struct weft_verdicts *verdicts_row(struct weft_address *server)
{
	return bpf_map_lookup_elem(&weft_verdicts, server);
}

static __always_inline u64 *destination_count_row(u32 row)
{
	return bpf_map_lookup_elem(&weft_destination_count, &row);
}

static __always_inline struct weft_destination *destination_row(struct weft_address *address)
{
	return bpf_map_lookup_elem(&weft_destinations, address);
}

static __always_inline u64 *destination_grant_row(struct weft_grant *grant)
{
	return bpf_map_lookup_elem(&weft_destination_grants, grant);
}

static __always_inline struct weft_identity *identity_row(u64 cgroup_id)
{
	return bpf_map_lookup_elem(&weft_identities, &cgroup_id);
}

static __always_inline struct weft_protected *protected_row(u64 cgroup_id)
{
	return bpf_map_lookup_elem(&weft_protected, &cgroup_id);
}

static __always_inline u64 *udp_sent_row(struct weft_udp_ends *ends)
{
	return bpf_map_lookup_elem(&weft_udp_sent, ends);
}

static __always_inline int udp_sent_write(struct weft_udp_ends *ends, u64 *now)
{
	return bpf_map_update_elem(&weft_udp_sent, ends, now, BPF_ANY);
}

#endif
