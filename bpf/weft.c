// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The entry points. All but those of network namespaces, at the end, are attached to the kubepods
 * cgroup of the kubelet. A lookup that finds nothing leaves the connection unchanged (DESIGN.md in
 * this folder lists each case).
 */
#include "abi.h"
#include "compat.h"
#include "address.h"
#include "maps.h"
#include "udp.h"
#include "client.h"
#include "connections.h"
#include "lookup.h"
#include "select.h"
#include "affinity.h"
#include "decide.h"
#include "socket.h"
#include "flow.h"
#include "event.h"
#include "tcp_lifecycle.h"
#include "verdict.h"
#include "replies.h"
#include "guard.h"
#include "authorize.h"
#include "audit.h"

static __always_inline void read_ip4(struct bpf_sock_addr *ctx, struct weft_frontend *key)
{
	key->address.part[2] = bpf_htonl(0xffff);
	key->address.part[3] = ctx->user_ip4;
	key->port = bpf_ntohs(ctx->user_port);
	key->protocol = ctx->protocol;
}

static __always_inline void read_ip6(struct bpf_sock_addr *ctx, struct weft_frontend *key)
{
	key->address.part[0] = ctx->user_ip6[0];
	key->address.part[1] = ctx->user_ip6[1];
	key->address.part[2] = ctx->user_ip6[2];
	key->address.part[3] = ctx->user_ip6[3];
	key->port = bpf_ntohs(ctx->user_port);
	key->protocol = ctx->protocol;
}

static __always_inline bool is_ours(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

static __always_inline struct udp_socket udp_socket(struct bpf_sock_addr *ctx)
{
	struct udp_socket udp = {.sk = ctx->sk};

	if (ctx->protocol == IPPROTO_UDP)
		udp.cookie = bpf_get_socket_cookie(ctx);
	return udp;
}

/*
 * Records the flow and the event of a decision; does nothing for clients outside the mesh that
 * pass.
 */
static __always_inline void record_decision(const struct weft_frontend *key,
					    struct decision *decision, enum verdict verdict)
{
	if (!decision->client && verdict == VERDICT_PASS)
		return;
	decision->now = bpf_ktime_get_ns();
	flow_opened(decision, key->protocol);
	emit_decision(key, decision, verdict);
}

static __always_inline enum verdict
decide_connect(struct bpf_sock_addr *ctx, struct weft_frontend *key, struct decision *decision)
{
	struct udp_socket udp = udp_socket(ctx);
	enum verdict verdict = decide(key, &udp, decision);

	if (udp.cookie && decision->selected)
		udp_connected(&udp, key, decision);
	counter_inc(decision->reason);
	record_decision(key, decision, verdict);
	if (verdict == VERDICT_REWRITE)
		sock_state_set(ctx->sk, key, decision);
	else
		sock_state_clear(ctx->sk);
	return verdict;
}

static __always_inline enum verdict
decide_sendmsg(struct bpf_sock_addr *ctx, struct weft_frontend *key, struct decision *decision)
{
	struct udp_socket udp = udp_socket(ctx);
	enum verdict verdict;

	/*
	 * A connected v4-mapped socket runs sendmsg4 for each datagram; connect has already
	 * decided.
	 */
	if (connected_row(ctx->sk, key))
		return VERDICT_PASS;
	verdict = decide(key, &udp, decision);
	counter_inc(decision->reason);
	if (verdict == VERDICT_PASS || verdict == VERDICT_REWRITE)
		note_datagram(ctx, decision->pod,
			      verdict == VERDICT_PASS ? &key->address : &decision->address,
			      verdict == VERDICT_PASS ? key->port : decision->port);
	/* Recorded for the first datagram of a socket to a backend, not for each. */
	if (verdict == VERDICT_PASS)
		return verdict;
	if (verdict == VERDICT_REWRITE && !udp_sent(&udp, key, decision))
		return verdict;
	record_decision(key, decision, verdict);
	return verdict;
}

static __always_inline bool translate_source(struct bpf_sock_addr *ctx, struct weft_frontend *peer)
{
	if (!translate_connected(ctx->sk, peer) && !translate_pair(ctx->sk, peer) &&
	    !translate_reply(bpf_get_socket_cookie(ctx), peer))
		return false;
	counter_inc(WEFT_REPLY_TRANSLATED);
	return true;
}

int weft_connect4(struct bpf_sock_addr *ctx)
{
	struct weft_frontend key = {};
	struct decision decision = {};

	if (!is_ours(ctx))
		return 1;
	read_ip4(ctx, &key);
	return apply4(ctx, decide_connect(ctx, &key, &decision), &key, &decision);
}

int weft_connect6(struct bpf_sock_addr *ctx)
{
	struct weft_frontend key = {};
	struct decision decision = {};

	if (!is_ours(ctx))
		return 1;
	read_ip6(ctx, &key);
	return apply6(ctx, decide_connect(ctx, &key, &decision), &key, &decision);
}

/* Runs also for v4-mapped destinations of AF_INET6 sockets. */
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct weft_frontend key = {};
	struct decision decision = {};

	if (!is_ours(ctx))
		return 1;
	read_ip4(ctx, &key);
	return apply4(ctx, decide_sendmsg(ctx, &key, &decision), &key, &decision);
}

int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct weft_frontend key = {};
	struct decision decision = {};

	if (!is_ours(ctx))
		return 1;
	read_ip6(ctx, &key);
	return apply6(ctx, decide_sendmsg(ctx, &key, &decision), &key, &decision);
}

/*
 * recvmsg and getpeername cannot refuse: the verifier requires 1. Both run for connected UDP, too.
 */
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct weft_frontend peer = {};

	read_ip4(ctx, &peer);
	if (translate_source(ctx, &peer))
		write_ip4(ctx, &peer.address, peer.port);
	return 1;
}

/* Runs also for datagrams that an AF_INET6 socket receives from a v4-mapped address. */
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct weft_frontend peer = {};

	read_ip6(ctx, &peer);
	if (translate_source(ctx, &peer))
		write_ip6(ctx, &peer.address, peer.port);
	return 1;
}

int weft_getpeername4(struct bpf_sock_addr *ctx)
{
	struct weft_frontend peer = {};

	read_ip4(ctx, &peer);
	if (translate_connected(ctx->sk, &peer))
		write_ip4(ctx, &peer.address, peer.port);
	return 1;
}

int weft_getpeername6(struct bpf_sock_addr *ctx)
{
	struct weft_frontend peer = {};

	read_ip6(ctx, &peer);
	if (translate_connected(ctx->sk, &peer))
		write_ip6(ctx, &peer.address, peer.port);
	return 1;
}

/* RTT_CB is never enabled: it would cost per packet. */
int weft_sock_ops(struct bpf_sock_ops *ctx)
{
	void *sk = ctx->sk;
	struct weft_socket *socket;
	u32 op = ctx->op;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	if (op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] != BPF_TCP_CLOSE)
		return 1;
	if (!sk)
		return 1;
	socket = socket_row(sk);
	if (!socket)
		return 1;
	tcp_follow(ctx, op, sk, socket);
	if (op == BPF_SOCK_OPS_STATE_CB) {
		connection_ends(sk);
		return 1;
	}
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		connection_begins(sk, socket);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	return 1;
}

/*
 * Runs in the network namespace of a waypoint. Refuses sources that are not on the client allow-
 * list.
 */
int weft_guard(struct bpf_sk_lookup *ctx)
{
	struct weft_address source = source_address(ctx);

	if (client_row(&source))
		return SK_PASS;
	counter_inc(WEFT_CLIENT_REFUSED);
	return SK_DROP;
}

/*
 * Runs in the network namespace of a protected pod. Refuses clients that its policies do not admit.
 */
int weft_authorize(struct bpf_sk_lookup *ctx)
{
	struct weft_address local = local_address(ctx), source = source_address(ctx);
	bool admitted;

	if (is_exempt(ctx, &local, &source))
		return SK_PASS;
	admitted = is_admitted(&local, &source, ctx->local_port, false);
	count_verdict(&local, admitted, false);
	if (admitted)
		return SK_PASS;
	counter_inc(WEFT_POLICY_REFUSED);
	return SK_DROP;
}

/*
 * Runs in the network namespace of a pod that audited policies select, beside weft_authorize if
 * other policies protect the pod. The kernel runs both for each connection.
 */
int weft_audit(struct bpf_sk_lookup *ctx)
{
	audit(ctx);
	return SK_PASS;
}
