/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps as libbpf declares them, with plain helper calls: it replaces ../maps.h for any compiler
 * but BCC. `make check` compiles the programs with it (clang -include, before ../maps.h, whose
 * include guard this file also defines), so that clang checks the C with all warnings.
 */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include "kernel.h"
#include "programs.h"
#include "../abi.h"
#include "../abi_policy.h"
#include "../abi_socket.h"
#include "../abi_telemetry.h"
#include "../compat.h"

#define WEFT_TABLE(map_type, key_type, value_type, name, capacity, flags)                          \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
		__uint(max_entries, capacity);                                                     \
		__uint(map_flags, flags);                                                          \
	} name SEC(".maps")

WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, struct weft_config, weft_config, WEFT_CONFIGS, BPF_F_MMAPABLE);
WEFT_TABLE(BPF_MAP_TYPE_HASH, u64, struct weft_pod, weft_pods, WEFT_PODS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_frontend, u64, weft_frontends, WEFT_FRONTENDS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, u64, weft_actions, WEFT_ACTIONS, BPF_F_MMAPABLE);
WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, struct weft_service, weft_services, WEFT_SERVICES, 0);
WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, struct weft_slot, weft_slots, WEFT_SLOTS, 0);
WEFT_TABLE(BPF_MAP_TYPE_HASH, struct weft_address, u64, weft_clients, WEFT_CLIENTS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, weft_counters, WEFT_REASON_ROOM, 0);
WEFT_TABLE(BPF_MAP_TYPE_PERCPU_HASH, struct weft_flow_key, struct weft_flow, weft_flows, WEFT_FLOWS,
	   BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_ARRAY, u32, struct weft_flow, weft_no_flow, 1, 0);
WEFT_TABLE(BPF_MAP_TYPE_HASH, u64, u64, weft_flow_counts, WEFT_FLOW_COUNTS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct weft_rate_window, weft_event_rate, 4, 0);
WEFT_TABLE(BPF_MAP_TYPE_HASH, u64, u64, weft_connections, WEFT_CONNECTIONS, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_SK_STORAGE, int, u64, weft_charges, 0, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_LRU_HASH, struct weft_udp_flow, struct weft_udp_peer, weft_udp_peers,
	   WEFT_UDP_PEERS, 0);
WEFT_TABLE(BPF_MAP_TYPE_LRU_HASH, struct weft_udp_target, struct weft_backend, weft_udp_choices,
	   WEFT_UDP_PEERS, 0);
WEFT_TABLE(BPF_MAP_TYPE_LRU_HASH, struct weft_affinity_key, struct weft_backend, weft_affinity,
	   WEFT_AFFINITY, 0);
WEFT_TABLE(BPF_MAP_TYPE_SK_STORAGE, int, struct weft_socket, weft_sockets, 0, BPF_F_NO_PREALLOC);
WEFT_TABLE(BPF_MAP_TYPE_SK_STORAGE, int, struct weft_udp_socket, weft_udp_sockets, 0,
	   BPF_F_NO_PREALLOC);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WEFT_EVENT_SIZE);
} weft_events SEC(".maps");

#include "policy_maps.h"

static __always_inline struct weft_config *config_row(u32 row)
{
	return bpf_map_lookup_elem(&weft_config, &row);
}

static __always_inline struct weft_pod *pod_row(u64 cgroup_id)
{
	return bpf_map_lookup_elem(&weft_pods, &cgroup_id);
}

static __always_inline u64 *frontend_row(struct weft_frontend *key)
{
	return bpf_map_lookup_elem(&weft_frontends, key);
}

static __always_inline u64 *action_row(u32 number)
{
	return bpf_map_lookup_elem(&weft_actions, &number);
}

static __always_inline struct weft_service *service_row(u32 index)
{
	return bpf_map_lookup_elem(&weft_services, &index);
}

static __always_inline struct weft_slot *slot_row(u32 slot)
{
	return bpf_map_lookup_elem(&weft_slots, &slot);
}

static __always_inline u64 *client_row(struct weft_address *source)
{
	return bpf_map_lookup_elem(&weft_clients, source);
}

static __always_inline void counter_inc(u32 reason)
{
	u64 *counter = bpf_map_lookup_elem(&weft_counters, &reason);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

static __always_inline struct weft_flow *flow_row(struct weft_flow_key *key)
{
	return bpf_map_lookup_elem(&weft_flows, key);
}

static __always_inline int flow_make(struct weft_flow_key *key)
{
	u32 row = 0;
	struct weft_flow *zeros = bpf_map_lookup_elem(&weft_no_flow, &row);

	return zeros ? bpf_map_update_elem(&weft_flows, key, zeros, BPF_NOEXIST) : -1;
}

static __always_inline u64 *flow_count_row(u64 workload_id)
{
	return bpf_map_lookup_elem(&weft_flow_counts, &workload_id);
}

static __always_inline void flow_count_make(u64 workload_id)
{
	u64 zero = 0;

	bpf_map_update_elem(&weft_flow_counts, &workload_id, &zero, BPF_NOEXIST);
}

static __always_inline u64 *connections_row(u64 namespace_id)
{
	return bpf_map_lookup_elem(&weft_connections, &namespace_id);
}

static __always_inline void connections_make(u64 namespace_id)
{
	u64 zero = 0;

	bpf_map_update_elem(&weft_connections, &namespace_id, &zero, BPF_NOEXIST);
}

static __always_inline struct weft_rate_window *rate_window_row(u32 row)
{
	return bpf_map_lookup_elem(&weft_event_rate, &row);
}

static __always_inline struct weft_event *event_reserve(void)
{
	return bpf_ringbuf_reserve(&weft_events, sizeof(struct weft_event), 0);
}

static __always_inline void event_submit(struct weft_event *event)
{
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline struct weft_udp_peer *udp_peer_row(struct weft_udp_flow *flow)
{
	return bpf_map_lookup_elem(&weft_udp_peers, flow);
}

static __always_inline int udp_peer_write(struct weft_udp_flow *flow, struct weft_udp_peer *peer)
{
	return bpf_map_update_elem(&weft_udp_peers, flow, peer, BPF_ANY);
}

static __always_inline struct weft_backend *udp_choice_row(struct weft_udp_target *target)
{
	return bpf_map_lookup_elem(&weft_udp_choices, target);
}

static __always_inline int udp_choice_write(struct weft_udp_target *target,
					    struct weft_backend *backend)
{
	return bpf_map_update_elem(&weft_udp_choices, target, backend, BPF_ANY);
}

static __always_inline struct weft_backend *affinity_row(struct weft_affinity_key *key)
{
	return bpf_map_lookup_elem(&weft_affinity, key);
}

static __always_inline int affinity_write(struct weft_affinity_key *key,
					  struct weft_backend *backend)
{
	return bpf_map_update_elem(&weft_affinity, key, backend, BPF_ANY);
}

static __always_inline struct weft_socket *socket_row(void *sk)
{
	return bpf_sk_storage_get(&weft_sockets, sk, NULL, 0);
}

static __always_inline struct weft_socket *socket_row_made(void *sk)
{
	return bpf_sk_storage_get(&weft_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void socket_row_drop(void *sk)
{
	bpf_sk_storage_delete(&weft_sockets, sk);
}

static __always_inline u64 *charge_row(void *sk)
{
	return bpf_sk_storage_get(&weft_charges, sk, NULL, 0);
}

static __always_inline u64 *charge_row_made(void *sk)
{
	return bpf_sk_storage_get(&weft_charges, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline struct weft_udp_socket *udp_socket_row(void *sk)
{
	return bpf_sk_storage_get(&weft_udp_sockets, sk, NULL, 0);
}

static __always_inline struct weft_udp_socket *udp_socket_row_made(void *sk)
{
	return bpf_sk_storage_get(&weft_udp_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

#endif
