/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The connections of clients to the waypoint, by namespace: a namespace may have no more than it
 * leaves free. A connection counts from its SYN to its end on the side of the client.
 */
#ifndef WEFT_CONNECTIONS_H
#define WEFT_CONNECTIONS_H

#include "maps.h"

/* CPUs that race can each let one connection more through. */
static __always_inline bool below_connection_limit(const struct weft_config *config,
						   u64 namespace_id)
{
	u64 *all = connections_row(WEFT_ALL_NAMESPACES);
	u64 *own = connections_row(namespace_id);
	u64 used = all ? READ_ONCE(*all) : 0;
	u64 limit = config->waypoint_connections;

	if (!limit)
		return true;
	return used < limit && (!own || READ_ONCE(*own) < limit - used);
}

static __always_inline u64 *connections_row_made(u64 namespace_id)
{
	u64 *row = connections_row(namespace_id);

	if (row)
		return row;
	connections_make(namespace_id);
	return connections_row(namespace_id);
}

static __always_inline void connections_add(u64 namespace_id, u64 number)
{
	u64 *row = connections_row(namespace_id);

	if (row)
		__sync_fetch_and_add(row, number);
}

/*
 * Called for a SYN to the waypoint. The storage of the socket has the namespace that is charged.
 * Without memory for it, or for the row of the namespace, the connection is not counted.
 */
static __always_inline void connection_begins(void *sk, const struct weft_socket *socket)
{
	struct weft_pod *pod = pod_row(socket->client);
	u64 namespace_id = pod ? READ_ONCE(pod->namespace_id) : 0;
	u64 *charge;

	if (socket->reason != WEFT_TO_WAYPOINT || !namespace_id)
		return;
	if (!connections_row_made(WEFT_ALL_NAMESPACES) || !connections_row_made(namespace_id))
		return;
	charge = charge_row_made(sk);
	if (!charge || *charge)
		return;
	*charge = namespace_id;
	connections_add(namespace_id, 1);
	connections_add(WEFT_ALL_NAMESPACES, 1);
}

static __always_inline void connection_ends(void *sk)
{
	u64 *charge = charge_row(sk);
	u64 namespace_id = charge ? *charge : 0;

	if (!namespace_id)
		return;
	*charge = 0;
	connections_add(namespace_id, -1);
	connections_add(WEFT_ALL_NAMESPACES, -1);
}

#endif
