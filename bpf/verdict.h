/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an outcome to what a program does: it writes the destination and returns 1 to go on, or 0
 * to fail with EPERM or with what bpf_set_retval said (kernel 5.18). Where that is missing, who is
 * refused goes to the pod's own loopback, to a port where nobody listens: TCP is refused there,
 * connected UDP hears of it with the next call.
 */
#ifndef WEFT_VERDICT_H
#define WEFT_VERDICT_H

#include "decide.h"

static __always_inline void write_ip4(struct bpf_sock_addr *ctx, const struct weft_address *address,
				      u16 port)
{
	WRITE_ONCE(ctx->user_ip4, address->part[3]);
	WRITE_ONCE(ctx->user_port, bpf_htons(port));
}

static __always_inline void write_ip6(struct bpf_sock_addr *ctx, const struct weft_address *address,
				      u16 port)
{
	WRITE_ONCE(ctx->user_ip6[0], address->part[0]);
	WRITE_ONCE(ctx->user_ip6[1], address->part[1]);
	WRITE_ONCE(ctx->user_ip6[2], address->part[2]);
	WRITE_ONCE(ctx->user_ip6[3], address->part[3]);
	WRITE_ONCE(ctx->user_port, bpf_htons(port));
}

#ifdef WEFT_WITHOUT_SET_RETVAL
#define REFUSING_PORT 1

static __always_inline enum outcome refusal(const struct weft_frontend *key, struct choice *choice)
{
	choice->address = (struct weft_address){.part = {0, 0, 0, bpf_htonl(1)}};
	if (is_ipv4(&key->address)) {
		choice->address.part[2] = bpf_htonl(0xffff);
		choice->address.part[3] = bpf_htonl(0x7f000001);
	}
	choice->port = REFUSING_PORT;
	return OUTCOME_REWRITE;
}
#else
static __always_inline enum outcome refusal(const struct weft_frontend *key, struct choice *choice)
{
	bpf_set_retval(-ECONNREFUSED);
	return OUTCOME_DENY;
}
#endif

static __always_inline int apply4(struct bpf_sock_addr *ctx, enum outcome outcome,
				  const struct weft_frontend *key, struct choice *choice)
{
	if (outcome == OUTCOME_REFUSE)
		outcome = refusal(key, choice);
	if (outcome == OUTCOME_REWRITE)
		write_ip4(ctx, &choice->address, choice->port);
	return outcome != OUTCOME_DENY;
}

static __always_inline int apply6(struct bpf_sock_addr *ctx, enum outcome outcome,
				  const struct weft_frontend *key, struct choice *choice)
{
	if (outcome == OUTCOME_REFUSE)
		outcome = refusal(key, choice);
	if (outcome == OUTCOME_REWRITE)
		write_ip6(ctx, &choice->address, choice->port);
	return outcome != OUTCOME_DENY;
}

#endif
