/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps, and all calls of BCC map methods. BCC rewrites these to helper calls, but not inside
 * macros. libbpf/maps.h replaces this file for any other compiler: change a map in both. The loader
 * pins the maps.
 */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include "abi.h"
#include "abi_policy.h"
#include "abi_socket.h"
#include "abi_telemetry.h"
#include "compat.h"
#include "policy_maps.h"

BPF_F_TABLE("array", u32, struct weft_config, weft_config, WEFT_CONFIGS, BPF_F_MMAPABLE);
BPF_F_TABLE("hash", u64, struct weft_pod, weft_pods, WEFT_PODS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct weft_frontend, u64, weft_frontends, WEFT_FRONTENDS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", u32, u64, weft_actions, WEFT_ACTIONS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct weft_service, weft_services, WEFT_SERVICES, 0);
BPF_F_TABLE("array", u32, struct weft_slot, weft_slots, WEFT_SLOTS, 0);
BPF_F_TABLE("hash", struct weft_address, u64, weft_clients, WEFT_CLIENTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("percpu_array", u32, u64, weft_counters, WEFT_REASON_ROOM, 0);
BPF_F_TABLE("percpu_hash", struct weft_flow_key, struct weft_flow, weft_flows, WEFT_FLOWS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", u32, struct weft_flow, weft_no_flow, 1, 0);
BPF_F_TABLE("hash", u64, u64, weft_flow_counts, WEFT_FLOW_COUNTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("percpu_array", u32, struct weft_rate_window, weft_event_rate, 4, 0);
BPF_F_TABLE("hash", u64, u64, weft_connections, WEFT_CONNECTIONS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("sk_storage", int, u64, weft_charges, 0, BPF_F_NO_PREALLOC);
BPF_F_TABLE("lru_hash", struct weft_udp_flow, struct weft_udp_peer, weft_udp_peers, WEFT_UDP_PEERS,
	    0);
BPF_F_TABLE("lru_hash", struct weft_udp_target, struct weft_backend, weft_udp_choices,
	    WEFT_UDP_PEERS, 0);
BPF_F_TABLE("lru_hash", struct weft_affinity_key, struct weft_backend, weft_affinity, WEFT_AFFINITY,
	    0);
BPF_F_TABLE("sk_storage", int, struct weft_socket, weft_sockets, 0, BPF_F_NO_PREALLOC);
BPF_F_TABLE("sk_storage", int, struct weft_udp_socket, weft_udp_sockets, 0, BPF_F_NO_PREALLOC);

/* The ring buffer macro of BCC takes a number of pages, and PAGE_SIZE of the kernel headers. */
struct weft_events_table_t {
	int key;
	u32 leaf;
	int (*ringbuf_output)(void *, u64, u64);
	void *(*ringbuf_reserve)(u64);
	void (*ringbuf_discard)(void *, u64);
	void (*ringbuf_submit)(void *, u64);
	u32 max_entries;
};
__attribute__((section("maps/ringbuf"))) struct weft_events_table_t weft_events = {
    .max_entries = WEFT_EVENT_SIZE};

static __always_inline struct weft_config *config_row(u32 row)
{
	return weft_config.lookup(&row);
}

static __always_inline struct weft_pod *pod_row(u64 cgroup_id)
{
	return weft_pods.lookup(&cgroup_id);
}

static __always_inline u64 *frontend_row(struct weft_frontend *key)
{
	return weft_frontends.lookup(key);
}

static __always_inline u64 *action_row(u32 number)
{
	return weft_actions.lookup(&number);
}

static __always_inline struct weft_service *service_row(u32 index)
{
	return weft_services.lookup(&index);
}

static __always_inline struct weft_slot *slot_row(u32 slot)
{
	return weft_slots.lookup(&slot);
}

static __always_inline u64 *client_row(struct weft_address *source)
{
	return weft_clients.lookup(source);
}

static __always_inline void counter_inc(u32 reason)
{
	u64 *counter = weft_counters.lookup(&reason);

	/* Atomic: a program that interrupts this one on the same CPU can count the same reason. */
	if (counter)
		__sync_fetch_and_add(counter, 1);
}

static __always_inline struct weft_flow *flow_row(struct weft_flow_key *key)
{
	return weft_flows.lookup(key);
}

/* Creates a row from a row of zeros in a map: the stack is too small for one. 0: created. */
static __always_inline int flow_make(struct weft_flow_key *key)
{
	u32 row = 0;
	struct weft_flow *zeros = weft_no_flow.lookup(&row);

	return zeros ? weft_flows.insert(key, zeros) : -1;
}

static __always_inline u64 *flow_count_row(u64 workload_id)
{
	return weft_flow_counts.lookup(&workload_id);
}

static __always_inline void flow_count_make(u64 workload_id)
{
	u64 zero = 0;

	weft_flow_counts.insert(&workload_id, &zero);
}

static __always_inline u64 *connections_row(u64 namespace_id)
{
	return weft_connections.lookup(&namespace_id);
}

static __always_inline void connections_make(u64 namespace_id)
{
	u64 zero = 0;

	weft_connections.insert(&namespace_id, &zero);
}

static __always_inline struct weft_rate_window *rate_window_row(u32 row)
{
	return weft_event_rate.lookup(&row);
}

/* Ring buffers: kernel 5.8. */
static __always_inline struct weft_event *event_reserve(void)
{
	return weft_events.ringbuf_reserve(sizeof(struct weft_event));
}

/* No wakeup of the reader: a wakeup costs the client more than the rest of the program. */
static __always_inline void event_submit(struct weft_event *event)
{
	weft_events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline struct weft_udp_peer *udp_peer_row(struct weft_udp_flow *flow)
{
	return weft_udp_peers.lookup(flow);
}

static __always_inline int udp_peer_write(struct weft_udp_flow *flow, struct weft_udp_peer *peer)
{
	return weft_udp_peers.update(flow, peer);
}

static __always_inline struct weft_backend *udp_choice_row(struct weft_udp_target *target)
{
	return weft_udp_choices.lookup(target);
}

static __always_inline int udp_choice_write(struct weft_udp_target *target,
					    struct weft_backend *backend)
{
	return weft_udp_choices.update(target, backend);
}

static __always_inline struct weft_backend *affinity_row(struct weft_affinity_key *key)
{
	return weft_affinity.lookup(key);
}

static __always_inline int affinity_write(struct weft_affinity_key *key,
					  struct weft_backend *backend)
{
	return weft_affinity.update(key, backend);
}

/* sk_storage in cgroup socket-address and sock_ops programs: kernel 5.8. */
static __always_inline struct weft_socket *socket_row(void *sk)
{
	return weft_sockets.sk_storage_get(sk, NULL, 0);
}

static __always_inline struct weft_socket *socket_row_made(void *sk)
{
	return weft_sockets.sk_storage_get(sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void socket_row_drop(void *sk)
{
	weft_sockets.sk_storage_delete(sk);
}

static __always_inline u64 *charge_row(void *sk)
{
	return weft_charges.sk_storage_get(sk, NULL, 0);
}

static __always_inline u64 *charge_row_made(void *sk)
{
	return weft_charges.sk_storage_get(sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline struct weft_udp_socket *udp_socket_row(void *sk)
{
	return weft_udp_sockets.sk_storage_get(sk, NULL, 0);
}

static __always_inline struct weft_udp_socket *udp_socket_row_made(void *sk)
{
	return weft_udp_sockets.sk_storage_get(sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

#endif
