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
#define WEFT_AUDITED_GRANTS  32768
#define WEFT_VERDICTS	     (2 * WEFT_SERVERS)
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
	WEFT_AUDIT_REFUSED,
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

#endif
