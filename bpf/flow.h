/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Flows: sums of connections by client workload and Service. Additions are atomic: on the same CPU,
 * packets of another connection can interrupt a program that adds.
 */
#ifndef WEFT_FLOW_H
#define WEFT_FLOW_H

#include "decide.h"

#define NS_PER_US 1000

/* Whether a workload may have another row: it may have no more rows than are free. */
static __always_inline bool flow_has_room(u64 workload_id)
{
	u64 *all = flow_count_row(WEFT_ALL_WORKLOADS);
	u64 *own = flow_count_row(workload_id);
	u64 used = all ? *all : 0;

	return used < WEFT_FLOWS && (!own || *own < WEFT_FLOWS - used);
}

static __always_inline void flow_count(u64 workload_id)
{
	u64 *row = flow_count_row(workload_id);

	if (!row) {
		flow_count_make(workload_id);
		row = flow_count_row(workload_id);
	}
	if (row)
		__sync_fetch_and_add(row, 1);
}

/*
 * The row of a key, created when it is missing; the overflow row when the map or the share of the
 * workload is full.
 */
static __always_inline struct weft_flow *flow_get(struct weft_flow_key *key)
{
	struct weft_flow_key rest = {};
	struct weft_flow *row = flow_row(key);

	if (row)
		return row;
	if (flow_has_room(key->workload_id) && !flow_make(key)) {
		flow_count(key->workload_id);
		flow_count(WEFT_ALL_WORKLOADS);
	}
	row = flow_row(key);
	if (row)
		return row;
	counter_inc(WEFT_FLOW_LOST);
	return flow_row(&rest);
}

/* The histogram step of a time: ceil(log2(us / 64)), within bounds. */
static __always_inline u32 histogram_step(u64 us)
{
	u64 rest = us ? (us - 1) >> 6 : 0;
	u32 step = 0;

#pragma unroll
	for (int i = 0; i < WEFT_FLOW_STEPS - 1; i++)
		step += (rest >> i) != 0;
	return step;
}

static __always_inline void sum_add(u64 *sum, u64 number)
{
	__sync_fetch_and_add(sum, number);
}

static __always_inline void histogram_add(u32 *steps, u64 us)
{
	u32 step = histogram_step(us);

	if (step < WEFT_FLOW_STEPS)
		__sync_fetch_and_add(&steps[step], 1);
}

/*
 * Called for each connection to a Service, and for the first datagram of a UDP socket to a backend.
 */
static __always_inline void flow_opened(const struct decision *decision, u8 protocol)
{
	struct weft_flow_key key = {};
	struct weft_flow *row;

	if (!decision->service_id)
		return;
	key.workload_id = decision->workload_id;
	key.service_id = decision->service_id;
	key.reason = decision->reason;
	key.protocol = protocol;
	write_policy(key.policy, decision);
	row = flow_get(&key);
	if (row)
		sum_add(&row->opened, 1);
}

static __always_inline struct weft_flow *socket_flow(const struct weft_socket *socket, u16 error)
{
	struct weft_flow_key key = {};

	key.workload_id = socket->workload_id;
	key.service_id = socket->service_id;
	key.reason = socket->reason;
	key.error = error;
	key.protocol = IPPROTO_TCP;
	return flow_get(&key);
}

static __always_inline void flow_established(struct weft_flow *row,
					     const struct weft_socket *socket)
{
	u64 us = (bpf_ktime_get_ns() - socket->started) / NS_PER_US;

	sum_add(&row->established, 1);
	sum_add(&row->connect_us, us);
	histogram_add(row->connect_steps, us);
}

static __always_inline void flow_closed(struct weft_flow *row, u64 sent, u64 received, u64 rtt_us)
{
	sum_add(&row->closed, 1);
	sum_add(&row->sent, sent);
	sum_add(&row->received, received);
	sum_add(&row->rtt_us, rtt_us);
	histogram_add(row->rtt_steps, rtt_us);
}

#endif
