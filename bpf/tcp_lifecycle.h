/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a rewritten TCP connection, from sock_ops: established, failed, closed. Nothing runs
 * per packet; RTT_CB is never enabled.
 */
#ifndef WEFT_TCP_LIFECYCLE_H
#define WEFT_TCP_LIFECYCLE_H

#include "event.h"
#include "flow.h"
#include "socket.h"

#define WEFT_SOCK_DONE 1 /* bit of SOCK_DONE in sk_flags: the FIN of the peer was received */

/*
 * bpf_skc_to_tcp_sock: kernel 5.9. The verifier checks the offsets against the BTF of the kernel.
 */
static __always_inline u16 socket_error(void *sk)
{
	void *kernel_sock = WEFT_SK_ERR ? bpf_skc_to_tcp_sock(sk) : NULL;

	return kernel_sock ? *(int *)(kernel_sock + WEFT_SK_ERR) : 0;
}

/*
 * Whether the FIN of the peer was received. Without BTF the state before CLOSE is an approximation.
 */
static __always_inline bool fin_received(void *sk, u32 state)
{
	void *kernel_sock = WEFT_SK_FLAGS ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (kernel_sock)
		return *(unsigned long *)(kernel_sock + WEFT_SK_FLAGS) >> WEFT_SOCK_DONE & 1;
	return state == BPF_TCP_CLOSE_WAIT || state == BPF_TCP_LAST_ACK || state == BPF_TCP_CLOSING;
}

/* Whether the peer acknowledged the FIN of this side. */
static __always_inline bool fin_acked(struct bpf_sock_ops *ctx, u32 state)
{
	if (state == BPF_TCP_FIN_WAIT2)
		return true;
	return (state == BPF_TCP_LAST_ACK || state == BPF_TCP_CLOSING) &&
	       ctx->snd_una == ctx->snd_nxt;
}

/* TCP counts a SYN and a FIN as one byte each; the flow counts payload only. */
static __always_inline void tcp_closed(struct bpf_sock_ops *ctx, void *sk, struct weft_flow *row)
{
	u32 state = ctx->args[0];
	u64 sent = ctx->bytes_acked;
	u64 received = ctx->bytes_received;
	u64 extra = 1 + fin_acked(ctx, state);

	sent = sent > extra ? sent - extra : 0;
	if (received && fin_received(sk, state))
		received--;
	flow_closed(row, sent, received, ctx->srtt_us >> 3);
}

/* The socket is followed in flows from SYN to end, but not before the SYN. */
static __always_inline bool is_followed(u32 op, const struct weft_socket *socket)
{
	return op != BPF_SOCK_OPS_TCP_CONNECT_CB && socket->workload_id &&
	       socket->phase != PHASE_ENDED;
}

static __always_inline void tcp_established(struct weft_socket *socket, struct weft_flow *row)
{
	counter_inc(WEFT_ESTABLISHED);
	socket->phase = PHASE_ESTABLISHED;
	if (row)
		flow_established(row, socket);
}

static __always_inline void tcp_ended(struct bpf_sock_ops *ctx, void *sk,
				      struct weft_socket *socket, struct weft_flow *row, u16 error)
{
	u8 phase = socket->phase;

	socket->phase = PHASE_ENDED;
	if (phase == PHASE_ESTABLISHED || !socket->workload_id)
		counter_inc(WEFT_CLOSED);
	if (phase == PHASE_ESTABLISHED && row)
		tcp_closed(ctx, sk, row);
	if (phase != PHASE_CONNECTING || !socket->workload_id)
		return;
	counter_inc(WEFT_FAILED);
	if (row)
		sum_add(&row->failed, 1);
	emit_failure(socket, error);
}

/*
 * `op` is one of those of weft_sock_ops. The row of the flow is looked up once for all of them: a
 * copy for each would be half of the program.
 */
static __always_inline void tcp_follow(struct bpf_sock_ops *ctx, u32 op, void *sk,
				       struct weft_socket *socket)
{
	bool ends = op == BPF_SOCK_OPS_STATE_CB;
	bool fails = ends && socket->phase == PHASE_CONNECTING;
	u16 error = fails ? socket_error(sk) : 0;
	struct weft_flow *row = is_followed(op, socket) ? socket_flow(socket, error) : NULL;

	if (ends)
		tcp_ended(ctx, sk, socket, row, error);
	else if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		tcp_established(socket, row);
}

#endif
