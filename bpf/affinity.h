/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Affinity: a UDP socket keeps its backend for each frontend (QUIC, DTLS); a pod keeps it with
 * sessionAffinity ClientIP. An entry is used only while the backend is in the slot array of the
 * frontend. The same check covers entries that the kernel recycles while they are read.
 */
#ifndef WEFT_AFFINITY_H
#define WEFT_AFFINITY_H

#include "address.h"
#include "client.h"
#include "select.h"
#include "udp.h"

#define NS_PER_SECOND 1000000000ULL

struct affinity {
	struct weft_udp_target socket;
	void *sk;
	struct weft_affinity_key pod;
	u64 affinity_ns;
	u64 now;
};

/* Fills the keys of the entries that apply. A key of zeros: no entry applies. */
static __always_inline void affinity_init(struct affinity *affinity, const struct client *client,
					  const struct weft_frontend *key,
					  struct weft_service *service)
{
	if (client->udp.cookie) {
		affinity->socket.cookie = client->udp.cookie;
		affinity->socket.original = key->address;
		affinity->socket.port = key->port;
		affinity->sk = client->udp.sk;
	}
	if (service->affinity_seconds) {
		affinity->affinity_ns = service->affinity_seconds * NS_PER_SECOND;
		affinity->now = bpf_ktime_get_ns();
		affinity->pod.service_id = service->service_id;
		affinity->pod.client = client->cgroup_id;
		affinity->pod.port = key->port;
		affinity->pod.protocol = key->protocol;
		affinity->pod.family = is_ipv4(&key->address) ? 4 : 6;
	}
}

static __always_inline bool affinity_lookup_socket(struct affinity *affinity, u32 base, u32 columns,
						   struct weft_backend *backend)
{
	struct weft_udp_socket *pairs;
	struct weft_backend *row;

	if (!affinity->socket.cookie)
		return false;
	pairs = udp_socket_row(affinity->sk);
	if (!pairs || !udp_pair_backend(pairs, &affinity->socket, backend)) {
		row = udp_choice_row(&affinity->socket);
		if (!row)
			return false;
		backend->address = row->address;
		backend->port = row->port;
	}
	return slots_contain(base, columns, backend);
}

/* The timeout runs from the last connection, as with the `recent` match of kube-proxy. */
static __always_inline bool affinity_lookup_pod(struct affinity *affinity, u32 base, u32 columns,
						struct weft_backend *backend)
{
	struct weft_backend *row;

	if (!affinity->affinity_ns)
		return false;
	row = affinity_row(&affinity->pod);
	if (!row || affinity->now - READ_ONCE(row->used) > affinity->affinity_ns)
		return false;
	*backend = *row;
	if (!slots_contain(base, columns, backend))
		return false;
	WRITE_ONCE(row->used, affinity->now);
	return true;
}

static __always_inline void affinity_update_pod(struct affinity *affinity,
						struct weft_backend *backend)
{
	if (!affinity->affinity_ns)
		return;
	backend->used = affinity->now;
	if (affinity_write(&affinity->pod, backend))
		counter_inc(WEFT_STATE_FAILED);
}

#endif
