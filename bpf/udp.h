/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The first frontends of a UDP socket, each with its backend: a datagram goes to the backend of its
 * frontend, a reply comes from the frontend of its backend. The pairs are in the storage of the
 * socket, so no other socket can displace them. The kernel holds the lock of the socket while
 * programs of connect, sendmsg and recvmsg run.
 */
#ifndef WEFT_UDP_H
#define WEFT_UDP_H

#include "address.h"
#include "maps.h"

/* `cookie` is 0 for a socket of another protocol. */
struct udp_socket {
	u64 cookie;
	void *sk;
};

static __always_inline bool pair_has_frontend(const struct weft_udp_pair *pair,
					      const struct weft_address *address, u16 port)
{
	return pair->original_port == port && same_address(&pair->original, address);
}

static __always_inline bool pair_has_backend(const struct weft_udp_pair *pair,
					     const struct weft_address *address, u16 port)
{
	return pair->backend_port == port && same_address(&pair->backend, address);
}

/* The backend of the latest pair of a frontend. Earlier pairs are of backends that were removed. */
static __always_inline bool udp_pair_backend(const struct weft_udp_socket *pairs,
					     const struct weft_udp_target *target,
					     struct weft_backend *backend)
{
	bool found = false;
	u32 sent = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < WEFT_UDP_PAIRS; i++) {
		const struct weft_udp_pair *pair = &pairs->pairs[i];

		if (!pair_has_frontend(pair, &target->original, target->port) || pair->sent < sent)
			continue;
		found = true;
		sent = pair->sent;
		backend->address = pair->backend;
		backend->port = pair->backend_port;
	}
	return found;
}

/* Replaces the source of a reply by the frontend of the latest pair of this backend. */
static __always_inline bool udp_pair_frontend(const struct weft_udp_socket *pairs,
					      struct weft_frontend *peer)
{
	struct weft_frontend source = *peer;
	u32 sent = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < WEFT_UDP_PAIRS; i++) {
		const struct weft_udp_pair *pair = &pairs->pairs[i];

		if (!pair_has_backend(pair, &source.address, source.port) || pair->sent <= sent)
			continue;
		sent = pair->sent;
		peer->address = pair->original;
		peer->port = pair->original_port;
	}
	return sent;
}

/* Whether the socket has this pair, which is then its latest. */
static __always_inline bool udp_pair_use(struct weft_udp_socket *pairs,
					 const struct weft_frontend *key,
					 const struct weft_address *backend, u16 port)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEFT_UDP_PAIRS; i++) {
		struct weft_udp_pair *pair = &pairs->pairs[i];

		if (!pair_has_frontend(pair, &key->address, key->port) ||
		    !pair_has_backend(pair, backend, port))
			continue;
		if (pair->sent != pairs->sent)
			pair->sent = ++pairs->sent;
		return true;
	}
	return false;
}

/* The slot of the earliest pair of a frontend; WEFT_UDP_PAIRS: there is none. */
static __always_inline u32 udp_pair_earliest(const struct weft_udp_socket *pairs,
					     const struct weft_frontend *key)
{
	u32 slot = WEFT_UDP_PAIRS;
	u32 sent = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < WEFT_UDP_PAIRS; i++) {
		const struct weft_udp_pair *pair = &pairs->pairs[i];

		if (!pair_has_frontend(pair, &key->address, key->port) ||
		    (slot < WEFT_UDP_PAIRS && pair->sent >= sent))
			continue;
		slot = i;
		sent = pair->sent;
	}
	return slot;
}

/*
 * Adds a pair as the latest. When all slots are filled it takes the place of an earlier pair of the
 * same frontend; false when there is none.
 */
static __always_inline bool udp_pair_add(struct weft_udp_socket *pairs,
					 const struct weft_frontend *key,
					 const struct weft_address *backend, u16 port)
{
	u32 slot = pairs->used;
	struct weft_udp_pair *pair;

	if (slot >= WEFT_UDP_PAIRS)
		slot = udp_pair_earliest(pairs, key);
	else
		pairs->used = slot + 1;
	if (slot >= WEFT_UDP_PAIRS)
		return false;
	pair = &pairs->pairs[slot];
	pair->original = key->address;
	pair->original_port = key->port;
	pair->backend = *backend;
	pair->backend_port = port;
	pair->sent = ++pairs->sent;
	return true;
}

/* Another frontend, which has no pair, used this backend later: replies are its. */
static __always_inline void udp_pair_outdate(struct weft_udp_socket *pairs,
					     const struct weft_address *backend, u16 port)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEFT_UDP_PAIRS; i++) {
		struct weft_udp_pair *pair = &pairs->pairs[i];

		if (pair_has_backend(pair, backend, port))
			pair->sent = 0;
	}
}

#endif
