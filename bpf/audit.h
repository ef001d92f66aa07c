/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Audited policies of a pod: what they would decide is counted, and a refusal is an event. Nothing
 * is refused. A program of its own, so that other protected pods have no cost of it.
 */
#ifndef WEFT_AUDIT_H
#define WEFT_AUDIT_H

#include "authorize.h"
#include "event.h"

static __always_inline void emit_audit(struct bpf_sk_lookup *ctx, const struct weft_address *local,
				       const struct weft_address *source)
{
	struct weft_event *event = event_begin(EV_CLASS_AUDIT, 0, bpf_ktime_get_ns());

	if (!event)
		return;
	event->original = *local;
	event->original_port = ctx->local_port;
	event->backend = *source;
	event->backend_port = bpf_ntohs(ctx->remote_port);
	event->reason = WEFT_AUDIT_REFUSED;
	event->protocol = ctx->protocol;
	event_submit(event);
}

/* An address that the agent has not seen is no pod's that an audited policy selects. */
static __always_inline void audit(struct bpf_sk_lookup *ctx)
{
	struct weft_address local = local_address(ctx), source = source_address(ctx);
	bool admitted;

	if (is_exempt(ctx, &local, &source) || !audited_row(&local))
		return;
	admitted = is_admitted(&local, &source, ctx->local_port, true);
	count_verdict(&local, admitted, true);
	if (admitted)
		return;
	counter_inc(WEFT_AUDIT_REFUSED);
	emit_audit(ctx, &local, &source);
}

#endif
