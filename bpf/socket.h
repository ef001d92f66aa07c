/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The state of a rewritten socket: recvmsg and getpeername return the frontend that its owner
 * dialled. State can be stale, because connect(AF_UNSPEC) runs no program. It is used only where
 * the current peer is the backend in the state.
 */
#ifndef WEFT_SOCKET_H
#define WEFT_SOCKET_H

#include "decide.h"

/* Progress of a connection: its end is recorded once. */
enum phase {
	PHASE_CONNECTING,
	PHASE_ESTABLISHED,
	PHASE_ENDED,
};

/* A second connect on one descriptor overwrites the first. */
static __always_inline void sock_state_set(void *sk, const struct weft_frontend *key,
					   const struct decision *decision)
{
	struct weft_socket *row = socket_row_made(sk);

	if (!row) {
		counter_inc(WEFT_STATE_FAILED);
		return;
	}
	row->original = key->address;
	row->original_port = key->port;
	row->backend = decision->address;
	row->backend_port = decision->port;
	row->service_id = decision->service_id;
	row->client = decision->client;
	row->workload_id = decision->workload_id;
	row->reason = decision->reason;
	row->phase = PHASE_CONNECTING;
	row->started = decision->now;
}

/* Removes the state of an earlier connect from a socket that is no longer rewritten. */
static __always_inline void sock_state_clear(void *sk)
{
	if (socket_row(sk))
		socket_row_drop(sk);
}

static __always_inline void udp_choice_set(u64 cookie, const struct weft_frontend *key,
					   const struct decision *decision)
{
	struct weft_udp_target target = {};
	struct weft_backend backend = {};

	target.cookie = cookie;
	target.original = key->address;
	target.port = key->port;
	backend.address = decision->address;
	backend.port = decision->port;
	if (udp_choice_write(&target, &backend))
		counter_inc(WEFT_STATE_FAILED);
}

static __always_inline bool udp_peer_is(struct weft_udp_flow *flow, const struct weft_frontend *key)
{
	struct weft_udp_peer *row = udp_peer_row(flow);

	return row && row->port == key->port && same_address(&row->original, &key->address);
}

static __always_inline void udp_peer_set(struct weft_udp_flow *flow,
					 const struct weft_frontend *key)
{
	struct weft_udp_peer peer = {};

	peer.original = key->address;
	peer.port = key->port;
	if (udp_peer_write(flow, &peer))
		counter_inc(WEFT_STATE_FAILED);
	counter_inc(WEFT_UDP_OVERFLOW);
}

/*
 * A socket that connected keeps its backend for the next connect, in the LRU table: the agent
 * searches it for connected sockets of removed backends. Pairs that the socket has must agree.
 */
static __always_inline void udp_connected(const struct udp_socket *udp,
					  const struct weft_frontend *key,
					  const struct decision *decision)
{
	struct weft_udp_socket *pairs = udp_socket_row(udp->sk);

	udp_choice_set(udp->cookie, key, decision);
	if (pairs && !udp_pair_use(pairs, key, &decision->address, decision->port))
		udp_pair_add(pairs, key, &decision->address, decision->port);
}

/*
 * Records a datagram of an unconnected socket: among its pairs, or, where these are of other
 * frontends or there is no memory for them, in the LRU tables that all pods share. A lookup is
 * cheaper there than an update for each datagram. True for the first datagram of the socket to this
 * backend for this frontend.
 */
static __always_inline bool udp_sent(const struct udp_socket *udp, const struct weft_frontend *key,
				     const struct decision *decision)
{
	struct weft_udp_socket *pairs = udp_socket_row(udp->sk);
	struct weft_udp_flow flow = {};
	bool first;

	if (pairs && udp_pair_use(pairs, key, &decision->address, decision->port))
		return false;
	flow.cookie = udp->cookie;
	flow.backend = decision->address;
	flow.port = decision->port;
	/* Sockets of versions without pairs have their state in the LRU tables. */
	first = !udp_peer_is(&flow, key);
	if (!pairs)
		pairs = udp_socket_row_made(udp->sk);
	if (pairs && udp_pair_add(pairs, key, &decision->address, decision->port))
		return first;
	if (pairs)
		udp_pair_outdate(pairs, &decision->address, decision->port);
	if (decision->selected)
		udp_choice_set(udp->cookie, key, decision);
	if (first)
		udp_peer_set(&flow, key);
	return first;
}

/* The state of a connected socket; NULL when `peer` is not the backend in the state. */
static __always_inline struct weft_socket *connected_row(void *sk, const struct weft_frontend *peer)
{
	struct weft_socket *row = socket_row(sk);

	if (!row || row->backend_port != peer->port || !same_address(&row->backend, &peer->address))
		return NULL;
	return row;
}

/* Replaces the backend of a connected socket by the frontend. */
static __always_inline bool translate_connected(void *sk, struct weft_frontend *peer)
{
	struct weft_socket *row = connected_row(sk, peer);

	if (!row)
		return false;
	peer->address = row->original;
	peer->port = row->original_port;
	return true;
}

/* Replaces the backend that sent a reply to an unconnected socket by the frontend. */
static __always_inline bool translate_pair(void *sk, struct weft_frontend *peer)
{
	struct weft_udp_socket *pairs = udp_socket_row(sk);

	return pairs && udp_pair_frontend(pairs, peer);
}

/* The same for a frontend that is not among the pairs of the socket. */
static __always_inline bool translate_reply(u64 cookie, struct weft_frontend *peer)
{
	struct weft_udp_flow flow = {};
	struct weft_udp_peer *row;

	flow.cookie = cookie;
	flow.backend = peer->address;
	flow.port = peer->port;
	row = udp_peer_row(&flow);
	if (!row)
		return false;
	peer->address = row->original;
	peer->port = row->port;
	return true;
}

#endif
