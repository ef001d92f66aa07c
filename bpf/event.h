/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events: single decisions and failures, for the agent to read. Each CPU has a budget for each
 * class in each rate window: a burst of allowed connections does not displace the events of refused
 * or failed ones.
 */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include "decide.h"

#define RATE_WINDOW_SHIFT 27 /* a rate window is 2^27 ns: 134 ms */

enum event_class {
	EV_CLASS_ALLOW,
	EV_CLASS_DENY,
};

static __always_inline bool event_rate_allows(enum event_class class, u64 now)
{
	struct weft_config *config = current_config();
	struct weft_rate_window *rate = rate_window_row(class);

	if (!config || !rate)
		return false;
	if (rate->window != now >> RATE_WINDOW_SHIFT) {
		rate->window = now >> RATE_WINDOW_SHIFT;
		rate->sent = 0;
	}
	if (rate->sent >= config->events)
		return false;
	rate->sent++;
	return true;
}

/*
 * Reserves an event and clears it. NULL when the budget or the ring is exhausted, which is counted.
 */
static __always_inline struct weft_event *event_begin(enum event_class class, u64 now)
{
	struct weft_event *event = event_rate_allows(class, now) ? event_reserve() : NULL;

	if (!event) {
		counter_inc(WEFT_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = now;
	return event;
}

static __always_inline void emit_decision(const struct weft_frontend *key,
					  const struct decision *decision, enum verdict verdict)
{
	bool denied = verdict == VERDICT_REFUSE || verdict == VERDICT_DENY;
	struct weft_event *event =
	    event_begin(denied ? EV_CLASS_DENY : EV_CLASS_ALLOW, decision->now);

	if (!event)
		return;
	event->client = decision->client;
	event->service_id = decision->service_id;
	event->original = key->address;
	event->original_port = key->port;
	event->backend = decision->address;
	event->backend_port = decision->port;
	event->reason = decision->reason;
	event->protocol = key->protocol;
	write_policy(event->policy, decision);
	event_submit(event);
}

static __always_inline void emit_failure(const struct weft_socket *socket, u16 error)
{
	struct weft_event *event = event_begin(EV_CLASS_DENY, bpf_ktime_get_ns());

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
