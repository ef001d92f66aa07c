/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The client allow-list of a waypoint. The program runs once for each connection, in the network
 * namespace of the server, before the kernel creates a socket for it. A refused client occupies
 * neither the accept queue nor a descriptor. TCP clients get a RST; a datagram is dropped.
 */
#ifndef WEFT_GUARD_H
#define WEFT_GUARD_H

#include "maps.h"

static __always_inline struct weft_address source_address(struct bpf_sk_lookup *ctx)
{
	struct weft_address source = {};
	/*
	 * Read here: LLVM would merge the loads of both branches into one by a pointer that the
	 * verifier refuses.
	 */
	u32 ip4 = READ_ONCE(ctx->remote_ip4);

	if (ctx->family == AF_INET6) {
		source.part[0] = ctx->remote_ip6[0];
		source.part[1] = ctx->remote_ip6[1];
		source.part[2] = ctx->remote_ip6[2];
		source.part[3] = ctx->remote_ip6[3];
	} else {
		source.part[2] = bpf_htonl(0xffff);
		source.part[3] = ip4;
	}
	return source;
}

#endif
