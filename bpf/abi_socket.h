/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The layout of the state of sockets, which outlives upgrades of weft. */
#ifndef WEFT_ABI_SOCKET_H
#define WEFT_ABI_SOCKET_H

#include "abi.h"

/*
 * Frozen layout: sockets outlive upgrades. `client` is the cgroup id of the pod. `workload_id` is 0
 * in rows of an earlier version: such connections are not in flows. `started` is CLOCK_MONOTONIC in
 * ns.
 */
struct weft_socket {
	struct weft_address original;
	struct weft_address backend;
	u16 original_port;
	u16 backend_port;
	u16 reason;
	u8 phase;
	u8 spare;
	u64 service_id;
	u64 client;
	u64 workload_id;
	u64 started;
};

/*
 * A frontend of a UDP socket and its backend. `sent` orders pairs by their last datagram; 0: a row
 * of weft_udp_peers has the frontend of replies from this backend.
 */
struct weft_udp_pair {
	struct weft_address original;
	struct weft_address backend;
	u16 original_port;
	u16 backend_port;
	u32 sent;
};

/*
 * Frozen layout: sockets outlive upgrades. The first `used` pairs are filled. `sent` is that of the
 * latest pair.
 */
struct weft_udp_socket {
	struct weft_udp_pair pairs[WEFT_UDP_PAIRS];
	u32 used;
	u32 sent;
	u64 reserved;
};

/* Frozen: sockets outlive upgrades. */
struct weft_udp_flow {
	u64 cookie;
	struct weft_address backend;
	u16 port;
	u16 spare[3];
};

/* Frozen: sockets outlive upgrades. */
struct weft_udp_peer {
	struct weft_address original;
	u16 port;
	u16 spare[3];
	u64 reserved;
};

/* Frozen: sockets outlive upgrades. */
struct weft_udp_target {
	u64 cookie;
	struct weft_address original;
	u16 port;
	u16 spare[3];
};

/*
 * Frozen layout: entries outlive upgrades. `client` is the cgroup id of the pod, `family` is 4 or
 * 6.
 */
struct weft_affinity_key {
	u64 service_id;
	u64 client;
	u16 port;
	u8 protocol;
	u8 family;
	u32 spare;
};

/* Frozen layout, as above. `used` is CLOCK_MONOTONIC in ns. */
struct weft_backend {
	struct weft_address address;
	u16 port;
	u16 spare[3];
	u64 used;
};

#endif
