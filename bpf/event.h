/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events: single decisions and failures, for the agent to read.
 *
 * Each pod has an allowance for events of refused and failed connections: POD_EVENTS at once, and
 * one in each rate window. No other pod can use it. Beyond that, and for allowed connections, each
 * CPU has a budget for each class in each rate window, which all pods share.
 */
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include "decide.h"

#define RATE_WINDOW_SHIFT 27 /* a rate window is 2^27 ns: 134 ms */
#define POD_EVENTS	  16ULL

enum event_class {
	EV_CLASS_ALLOW,
	EV_CLASS_DENY,
	EV_CLASS_DENY_UNKNOWN, /* the client is no known pod: it has no allowance of its own */
	EV_CLASS_AUDIT,	       /* an audited policy would refuse the client */
};

/*
 * The generic cell rate algorithm: an event moves the time of the pod on by one rate window, and
 * the time may be as early as POD_EVENTS rate windows ago. CPUs that race count two events as one.
 */
static __always_inline bool pod_allows_event(u64 client, u64 now)
{
	struct weft_pod *pod = client ? pod_row(client) : NULL;
	u64 span = POD_EVENTS << RATE_WINDOW_SHIFT;
	u64 earliest = now > span ? now - span : 0;
	u64 time;

	if (!pod)
		return false;
	time = READ_ONCE(pod->event_time);
	if (time < earliest)
		time = earliest;
	time += 1 << RATE_WINDOW_SHIFT;
	if (time > now)
		return false;
	WRITE_ONCE(pod->event_time, time);
	return true;
}

static __always_inline bool budget_allows_event(enum event_class class, u32 budget, u64 now)
{
	struct weft_rate_window *rate = rate_window_row(class);

	if (!rate)
		return false;
	if (rate->window != now >> RATE_WINDOW_SHIFT) {
		rate->window = now >> RATE_WINDOW_SHIFT;
		rate->sent = 0;
	}
	if (rate->sent >= budget)
		return false;
	rate->sent++;
	return true;
}

static __always_inline bool event_allowed(enum event_class class, u64 client, u64 now)
{
	struct weft_config *config = current_config();

	if (!config || !config->events)
		return false;
	if (class != EV_CLASS_ALLOW && pod_allows_event(client, now))
		return true;
	return budget_allows_event(class, config->events, now);
}

/*
 * Reserves an event and clears it. NULL when no allowance, budget or room in the ring is left,
 * which is counted.
 */
static __always_inline struct weft_event *event_begin(enum event_class class, u64 client, u64 now)
{
	struct weft_event *event = event_allowed(class, client, now) ? event_reserve() : NULL;

	if (!event) {
		counter_inc(WEFT_EVENT_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = now;
	event->client = client;
	return event;
}

static __always_inline enum event_class event_class(const struct decision *decision,
						    enum verdict verdict)
{
	if (verdict != VERDICT_REFUSE && verdict != VERDICT_DENY)
		return EV_CLASS_ALLOW;
	return decision->client ? EV_CLASS_DENY : EV_CLASS_DENY_UNKNOWN;
}

static __always_inline void emit_decision(const struct weft_frontend *key,
					  const struct decision *decision, enum verdict verdict)
{
	struct weft_event *event =
	    event_begin(event_class(decision, verdict), decision->client, decision->now);

	if (!event)
		return;
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
	struct weft_event *event = event_begin(EV_CLASS_DENY, socket->client, bpf_ktime_get_ns());

	if (!event)
		return;
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
