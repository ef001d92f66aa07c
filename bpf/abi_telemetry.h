/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The layout of flows and events. */
#ifndef WEFT_ABI_TELEMETRY_H
#define WEFT_ABI_TELEMETRY_H

#include "abi.h"

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
