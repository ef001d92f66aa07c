/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Backends that are kept: a UDP socket keeps its backend per frontend (QUIC, DTLS), and with
 * sessionAffinity ClientIP so does a pod. Only while the backend is in the frontend's array: that
 * check also makes a row harmless that was recycled under its reader.
 */
#ifndef WEFT_STICKY_H
#define WEFT_STICKY_H

#include "address.h"
#include "client.h"
#include "select.h"

#define NS_PER_SECOND 1000000000ULL

struct sticky {
	struct weft_udp_target socket;
	struct weft_affinity_key pod;
	u64 affinity_ns;
	u64 now;
};

/* Who might have kept a backend of this frontend; a key of zeros is nobody. */
static __always_inline void stick(struct sticky *sticky, const struct client *client,
				  const struct weft_frontend *key, struct weft_service *service)
{
	if (client->udp_socket) {
		sticky->socket.cookie = client->udp_socket;
		sticky->socket.original = key->address;
		sticky->socket.port = key->port;
	}
	if (service->affinity_seconds) {
		sticky->affinity_ns = service->affinity_seconds * NS_PER_SECOND;
		sticky->now = bpf_ktime_get_ns();
		sticky->pod.service_id = service->service_id;
		sticky->pod.client = client->cgroup_id;
		sticky->pod.port = key->port;
		sticky->pod.protocol = key->protocol;
		sticky->pod.family = is_ipv4(&key->address) ? 4 : 6;
	}
}

static __always_inline bool kept_by_socket(struct sticky *sticky, u32 base, u32 columns,
					   struct weft_backend *backend)
{
	struct weft_backend *row;

	if (!sticky->socket.cookie)
		return false;
	row = udp_choice_row(&sticky->socket);
	if (!row)
		return false;
	*backend = *row;
	return holds(base, columns, backend);
}

/* Affinity lasts from the last connection on (kube-proxy's `recent`). */
static __always_inline bool kept_by_pod(struct sticky *sticky, u32 base, u32 columns,
					struct weft_backend *backend)
{
	struct weft_backend *row;

	if (!sticky->affinity_ns)
		return false;
	row = affinity_row(&sticky->pod);
	if (!row || sticky->now - READ_ONCE(row->used) > sticky->affinity_ns)
		return false;
	*backend = *row;
	if (!holds(base, columns, backend))
		return false;
	WRITE_ONCE(row->used, sticky->now);
	return true;
}

static __always_inline void keep_by_socket(struct sticky *sticky, struct weft_backend *backend)
{
	if (sticky->socket.cookie && udp_choice_write(&sticky->socket, backend))
		count(WEFT_STATE_FAILED);
}

static __always_inline void keep_by_pod(struct sticky *sticky, struct weft_backend *backend)
{
	if (!sticky->affinity_ns)
		return;
	backend->used = sticky->now;
	if (affinity_write(&sticky->pod, backend))
		count(WEFT_STATE_FAILED);
}

#endif
