/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Single decisions, told to whoever watches. Each CPU has a small allowance a turn, one for what
 * goes on and one for what ends, so that a storm of the first hides nothing of the second.
 */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include "decide.h"

#define WEFT_TURN_SHIFT 27 /* a turn is 2^27 ns: 134 ms */

enum told {
	TOLD_ON,
	TOLD_END,
};

static __always_inline bool may_tell(enum told what, u64 now)
{
	struct weft_config *config = current_config();
	struct weft_turn *turn = turn_row(what);

	if (!config || !turn)
		return false;
	if (turn->turn != now >> WEFT_TURN_SHIFT) {
		turn->turn = now >> WEFT_TURN_SHIFT;
		turn->sent = 0;
	}
	if (turn->sent >= config->events)
		return false;
	turn->sent++;
	return true;
}

/* Room for one event with everything zero; NULL when there is none, which is counted. */
static __always_inline struct weft_event *event_begin(enum told what, u64 now)
{
	struct weft_event *event = may_tell(what, now) ? event_reserve() : NULL;

	if (!event) {
		count(WEFT_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = now;
	return event;
}

static __always_inline void tell_decision(const struct weft_frontend *key,
					  const struct choice *choice, enum outcome outcome)
{
	bool ends = outcome == OUTCOME_REFUSE || outcome == OUTCOME_DENY;
	struct weft_event *event = event_begin(ends ? TOLD_END : TOLD_ON, choice->now);

	if (!event)
		return;
	event->client = choice->client;
	event->service_id = choice->service_id;
	event->original = key->address;
	event->original_port = key->port;
	event->backend = choice->address;
	event->backend_port = choice->port;
	event->reason = choice->reason;
	event->protocol = key->protocol;
	write_policy(event->policy, choice);
	event_submit(event);
}

static __always_inline void tell_failure(const struct weft_socket *socket, u16 error)
{
	struct weft_event *event = event_begin(TOLD_END, bpf_ktime_get_ns());

	if (!event)
		return;
	event->client = socket->client;
	event->service_id = socket->service_id;
	event->original = socket->original;
	event->original_port = socket->original_port;
	event->backend = socket->backend;
	event->backend_port = socket->backend_port;
	event->reason = WEFT_FAILED;
	event->error = error;
	event->protocol = IPPROTO_TCP;
	event_submit(event);
}

#endif
