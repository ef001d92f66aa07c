/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Applies a verdict: the program writes the destination and returns 1 to continue, or returns 0 to
 * fail with EPERM or the errno of bpf_set_retval (kernel 5.18).
 *
 * Without bpf_set_retval, refused connections are redirected to a closed port on the loopback of
 * the pod, which answers RST. Connected UDP gets the error with the next call.
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

static __always_inline enum verdict refusal(const struct weft_frontend *key,
					    struct decision *decision)
{
	decision->address = (struct weft_address){.part = {0, 0, 0, bpf_htonl(1)}};
	if (is_ipv4(&key->address)) {
		decision->address.part[2] = bpf_htonl(0xffff);
		decision->address.part[3] = bpf_htonl(0x7f000001);
	}
	decision->port = REFUSING_PORT;
	return VERDICT_REWRITE;
}
#else
static __always_inline enum verdict refusal(const struct weft_frontend *key,
					    struct decision *decision)
{
	bpf_set_retval(-ECONNREFUSED);
	return VERDICT_DENY;
}
#endif

static __always_inline int apply4(struct bpf_sock_addr *ctx, enum verdict verdict,
				  const struct weft_frontend *key, struct decision *decision)
{
	if (verdict == VERDICT_REFUSE)
		verdict = refusal(key, decision);
	if (verdict == VERDICT_REWRITE)
		write_ip4(ctx, &decision->address, decision->port);
	return verdict != VERDICT_DENY;
}

static __always_inline int apply6(struct bpf_sock_addr *ctx, enum verdict verdict,
				  const struct weft_frontend *key, struct decision *decision)
{
	if (verdict == VERDICT_REFUSE)
		verdict = refusal(key, decision);
	if (verdict == VERDICT_REWRITE)
		write_ip6(ctx, &decision->address, decision->port);
	return verdict != VERDICT_DENY;
}

#endif
