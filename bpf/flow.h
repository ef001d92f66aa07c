/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of connections, summed per client workload and Service. Additions are atomic: the
 * same CPU can be interrupted by packets of another connection while it counts.
 */
#ifndef WEFT_FLOW_H
#define WEFT_FLOW_H

#include "decide.h"

#define NS_PER_US 1000

/* The row of a key, made when it is missing; the row for the rest when there is no room. */
static __always_inline struct weft_flow *flow_of(struct weft_flow_key *key)
{
	struct weft_flow_key rest = {};
	struct weft_flow *row = flow_row(key);

	if (row)
		return row;
	flow_make(key);
	row = flow_row(key);
	if (row)
		return row;
	count(WEFT_FLOW_LOST);
	return flow_row(&rest);
}

/* The histogram step of a time: ceil(log2(us / 64)), within bounds. */
static __always_inline u32 step_of(u64 us)
{
	u64 rest = us ? (us - 1) >> 6 : 0;
	u32 step = 0;

#pragma unroll
	for (int i = 0; i < WEFT_FLOW_STEPS - 1; i++)
		step += (rest >> i) != 0;
	return step;
}

static __always_inline void add(u64 *sum, u64 number)
{
	__sync_fetch_and_add(sum, number);
}

static __always_inline void add_step(u32 *steps, u64 us)
{
	u32 step = step_of(us);

	if (step < WEFT_FLOW_STEPS)
		__sync_fetch_and_add(&steps[step], 1);
}

/* A decision about a connection to a Service, or about a UDP socket's first datagram to it. */
static __always_inline void flow_opened(const struct choice *choice, u8 protocol)
{
	struct weft_flow_key key = {};
	struct weft_flow *row;

	if (!choice->service_id)
		return;
	key.workload_id = choice->workload_id;
	key.service_id = choice->service_id;
	key.reason = choice->reason;
	key.protocol = protocol;
	write_policy(key.policy, choice);
	row = flow_of(&key);
	if (row)
		add(&row->opened, 1);
}

static __always_inline struct weft_flow *flow_of_socket(const struct weft_socket *socket, u16 error)
{
	struct weft_flow_key key = {};

	key.workload_id = socket->workload_id;
	key.service_id = socket->service_id;
	key.reason = socket->reason;
	key.error = error;
	key.protocol = IPPROTO_TCP;
	return flow_of(&key);
}

static __always_inline void flow_established(const struct weft_socket *socket)
{
	u64 us = (bpf_ktime_get_ns() - socket->started) / NS_PER_US;
	struct weft_flow *row = flow_of_socket(socket, 0);

	if (!row)
		return;
	add(&row->established, 1);
	add(&row->connect_us, us);
	add_step(row->connect_steps, us);
}

static __always_inline void flow_failed(const struct weft_socket *socket, u16 error)
{
	struct weft_flow *row = flow_of_socket(socket, error);

	if (row)
		add(&row->failed, 1);
}

static __always_inline void flow_closed(const struct weft_socket *socket, u64 sent, u64 received,
					u64 rtt_us)
{
	struct weft_flow *row = flow_of_socket(socket, 0);

	if (!row)
		return;
	add(&row->closed, 1);
	add(&row->sent, sent);
	add(&row->received, received);
	add(&row->rtt_us, rtt_us);
	add_step(row->rtt_steps, rtt_us);
}

#endif
