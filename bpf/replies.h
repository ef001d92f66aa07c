/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Replies to the datagrams of a protected pod. The kernel looks for an unconnected socket in the
 * same way whether a datagram is a request or a reply, such as the answer of a DNS server. So
 * sendmsg remembers to whom a protected pod sent, and its policies do not judge what comes back.
 */
#ifndef WEFT_REPLIES_H
#define WEFT_REPLIES_H

#include "address.h"
#include "lookup.h"
#include "maps.h"

/* As conntrack keeps a stream of datagrams. */
#define WEFT_REPLY_NS (120 * 1000000000ULL)

/* The address of a protected pod, of the family of its peer. False: the pod is not protected. */
static __always_inline bool protected_address(u64 cgroup_id, const struct weft_address *remote,
					      struct weft_address *local)
{
	struct weft_protected *row = protected_row(cgroup_id);
	struct {
		struct weft_address address4;
		struct weft_address address6;
	} words;

	if (!row)
		return false;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		words.address4.part[i] = READ_ONCE(row->address4.part[i]);
		words.address6.part[i] = READ_ONCE(row->address6.part[i]);
	}
	*local = is_ipv4(remote) ? words.address4 : words.address6;
	return READ_ONCE(row->check) == (hash_words((const u64 *)&words) ^ cgroup_id);
}

/* Remembers a datagram of a pod, given by its cgroup id; 0: an unknown pod. */
static __always_inline void note_datagram(struct bpf_sock_addr *ctx, u64 cgroup_id,
					  const struct weft_address *remote, u16 port)
{
	struct weft_udp_ends ends = {};
	struct bpf_sock *sk = ctx->sk;
	u64 *sent, now;

	if (!sk || !cgroup_id || !protected_address(cgroup_id, remote, &ends.local))
		return;
	ends.remote = *remote;
	ends.remote_port = port;
	ends.local_port = sk->src_port;
	now = bpf_ktime_get_ns();
	sent = udp_sent_row(&ends);
	if (sent)
		WRITE_ONCE(*sent, now);
	else
		udp_sent_write(&ends, &now);
}

/* Whether a datagram is from a peer to which the pod sent one a moment ago. */
static __always_inline bool is_reply(struct weft_udp_ends *ends)
{
	u64 *sent = udp_sent_row(ends);

	return sent && bpf_ktime_get_ns() - READ_ONCE(*sent) < WEFT_REPLY_NS;
}

#endif
