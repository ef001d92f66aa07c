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

/*
 * State for unconnected UDP: the cookie and the backend of a reply lead to the frontend. A lookup
 * is cheaper than an update for each datagram. True for the first datagram of the socket to this
 * backend.
 */
static __always_inline bool udp_peer_set(u64 cookie, const struct weft_frontend *key,
					 const struct decision *decision)
{
	struct weft_udp_flow flow = {};
	struct weft_udp_peer peer = {};
	struct weft_udp_peer *row;

	flow.cookie = cookie;
	flow.backend = decision->address;
	flow.port = decision->port;
	row = udp_peer_row(&flow);
	if (row && row->port == key->port && same_address(&row->original, &key->address))
		return false;
	peer.original = key->address;
	peer.port = key->port;
	if (udp_peer_write(&flow, &peer))
		counter_inc(WEFT_STATE_FAILED);
	return true;
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
