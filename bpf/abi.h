/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The layout of keys and rows that the BPF programs and agent/kernel/abi.py share. Each padding
 * byte has a name and is zero. Addresses are 16 bytes in network order, IPv4 as v4-mapped. Ports
 * and all other numbers are in host byte order.
 */
#ifndef WEFT_ABI_H
#define WEFT_ABI_H

#define WEFT_CONFIGS	     2
#define WEFT_PODS	     4096
#define WEFT_FRONTENDS	     65536
#define WEFT_ACTIONS	     (2 * WEFT_FRONTENDS)
#define WEFT_SERVICES	     65536
#define WEFT_SLOTS	     262144
#define WEFT_UDP_PEERS	     65536
#define WEFT_UDP_PAIRS	     4
#define WEFT_AFFINITY	     65536
#define WEFT_CLIENTS	     8192
#define WEFT_SERVERS	     2048
#define WEFT_PEERS	     131072
#define WEFT_GRANTS	     131072
#define WEFT_UDP_SENT	     16384
#define WEFT_DESTINATIONS    131072
#define WEFT_DEST_GRANTS     65536
#define WEFT_FLOWS	     4096
#define WEFT_FLOW_COUNTS     (2 * WEFT_FLOWS)
#define WEFT_FLOW_STEPS	     16
#define WEFT_CONNECTIONS     65536
#define WEFT_ALL_WORKLOADS   0xffffffffffffffffULL
#define WEFT_ALL_NAMESPACES  0xffffffffffffffffULL
#define WEFT_EVENT_SIZE	     524288 /* bytes of the ring: a power of two, whole pages */
#define WEFT_MAX_LEVELS	     8
#define WEFT_OTHER_WAYPOINTS 8

/* Rows of weft_counters: a further reason does not change the layout. */
#define WEFT_REASON_ROOM 64

/* Values of struct weft_pod.mode. A mode deeper than L4 selects the second action. */
#define WEFT_MODE_NONE 0
#define WEFT_MODE_L4   1
#define WEFT_MODE_L7   2

/* struct weft_pod.flags */
#define WEFT_POD_CONSUMER_ROUTES 1
#define WEFT_POD_AGENT		 2
#define WEFT_POD_L4_ONLY	 4

/* Identity and port of struct weft_grant: every client, every port. */
#define WEFT_ANY_CLIENT 0
#define WEFT_ANY_PORT	0

/* struct weft_config.unknown_pod */
#define WEFT_UNKNOWN_PASS   0
#define WEFT_UNKNOWN_REJECT 1

/* A row of weft_actions is {base: 32, count: 24, kind: 8}, base in the low bits. The kinds: */
#define WEFT_ACTION_PASS     0
#define WEFT_ACTION_FORWARD  1
#define WEFT_ACTION_WAYPOINT 2
#define WEFT_ACTION_REJECT   3

/* The reason for a decision: `Reason` in agent/ir/tables.py. Each has one counter. */
enum weft_reason {
	WEFT_NOT_ENROLLED,
	WEFT_UNKNOWN_POD,
	WEFT_UNKNOWN_POD_REJECTED,
	WEFT_NO_FRONTEND,
	WEFT_FORWARDED,
	WEFT_TO_WAYPOINT,
	WEFT_PASSED,
	WEFT_NO_BACKEND,
	WEFT_SHARE_REJECTED,
	WEFT_WAYPOINT_DIALLED,
	WEFT_WAYPOINT_LOST,
	WEFT_STALE_ROW,
	WEFT_STATE_FAILED,
	WEFT_REPLY_TRANSLATED,
	WEFT_ESTABLISHED,
	WEFT_CLOSED,
	WEFT_FAILED,
	WEFT_FLOW_LOST,
	WEFT_EVENT_LOST,
	WEFT_CLIENT_REFUSED,
	WEFT_UDP_OVERFLOW,
	WEFT_OVER_BUDGET,
	WEFT_POLICY_REFUSED,
	WEFT_POLICY_FORBIDS,
	WEFT_REASONS,
};

_Static_assert(WEFT_REASONS <= WEFT_REASON_ROOM, "no room for that many reasons");

struct weft_address {
	u32 part[4];
};

/*
 * Two rows: the programs use the one with the greater epoch. `events` is how many events of a class
 * one CPU may emit in one rate window (RATE_WINDOW_SHIFT). `other_waypoints` are Envoys of the node
 * that get no new connections. `waypoint_connections` is how many connections of clients the
 * waypoint has room for; 0: not known, no limit.
 */
struct weft_config {
	u64 epoch;
	struct weft_address waypoint4;
	struct weft_address waypoint6;
	struct weft_address other_waypoints[WEFT_OTHER_WAYPOINTS];
	u32 first_level;
	u32 last_level;
	u32 unknown_pod;
	u32 events;
	u32 waypoint_connections;
	u32 spare;
};

/*
 * `cgroup_id` repeats the key. The kernel can recycle a hash element while a program reads it, so
 * the program compares `cgroup_id` last. Programs write `event_time`: the time in ns up to which
 * the events of the pod have used its allowance, see event.h.
 */
struct weft_pod {
	u64 namespace_id;
	u32 mode;
	u32 flags;
	u64 workload_id;
	u64 event_time;
	u64 cgroup_id;
};

struct weft_frontend {
	u64 namespace_id;
	struct weft_address address;
	u16 port;
	u8 protocol;
	u8 spare[5];
};

/*
 * The policy set of an address of a protected pod. `check` is a hash of the row and its key: the
 * kernel can recycle a hash element while a program reads it.
 */
struct weft_server {
	u64 policy_set;
	u64 check;
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

struct weft_service {
	u64 service_id;
	u32 affinity_seconds;
	u16 waypoint_port;
	u16 spare;
};

/* `threshold` is out of 2^32 and can be 2^32. */
struct weft_slot {
	struct weft_address address;
	u16 port;
	u16 reject;
	u32 alias;
	u64 threshold;
};

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

/*
 * A client workload, a Service, and the reason for the decision. `error` is 0, or the errno of
 * failed connections, which have a row of their own. The key of zeros is the overflow row. `policy`
 * is the index of the policy that decided, low byte first; 0: none.
 */
struct weft_flow_key {
	u64 workload_id;
	u64 service_id;
	u16 reason;
	u16 error;
	u8 protocol;
	u8 policy[3];
};

/*
 * Sums since the row was created, one row for each CPU. Step n of a histogram counts durations up
 * to 64 us times 2^n; the last step counts all longer ones.
 */
struct weft_flow {
	u64 opened;
	u64 established;
	u64 failed;
	u64 closed;
	u64 sent;
	u64 received;
	u64 connect_us;
	u64 rtt_us;
	u32 connect_steps[WEFT_FLOW_STEPS];
	u32 rtt_steps[WEFT_FLOW_STEPS];
};

/* How many events a CPU has emitted in the current rate window. */
struct weft_rate_window {
	u64 window;
	u64 sent;
};

/*
 * `time` is CLOCK_MONOTONIC in ns, `client` the cgroup id of the pod, `error` an errno or 0,
 * `policy` as in struct weft_flow_key.
 */
struct weft_event {
	u64 time;
	u64 client;
	u64 service_id;
	struct weft_address original;
	struct weft_address backend;
	u16 original_port;
	u16 backend_port;
	u16 reason;
	u16 error;
	u8 protocol;
	u8 policy[3];
	u8 spare[4];
};

#endif
