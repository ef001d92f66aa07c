/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finds the client of a connection. The client is the pod cgroup of the *current task*. It can
 * differ from the cgroup of the socket, by which the kernel selects the program: a process can pass
 * a descriptor to another pod.
 */
#ifndef WEFT_CLIENT_H
#define WEFT_CLIENT_H

#include "maps.h"
#include "udp.h"

struct client {
	u64 namespace_id;
	u32 mode;
	u32 flags;
	u64 cgroup_id;
	u64 workload_id;
	struct udp_socket udp;
};

/*
 * The row of the configuration with the greater epoch. NULL does not occur; the verifier requires
 * the check.
 */
static __always_inline struct weft_config *current_config(void)
{
	struct weft_config *even = config_row(0);
	struct weft_config *odd = config_row(1);

	if (!even || !odd)
		return NULL;
	return READ_ONCE(even->epoch) > READ_ONCE(odd->epoch) ? even : odd;
}

/* Copies the row of a pod; false when the kernel recycled the element meanwhile. */
static __always_inline bool copy_pod(struct weft_pod *row, u64 cgroup_id, struct client *client)
{
	client->namespace_id = READ_ONCE(row->namespace_id);
	client->mode = READ_ONCE(row->mode);
	client->flags = READ_ONCE(row->flags);
	client->workload_id = READ_ONCE(row->workload_id);
	client->cgroup_id = cgroup_id;
	return READ_ONCE(row->cgroup_id) == cgroup_id;
}

static __always_inline bool find_pod(u64 cgroup_id, struct client *client)
{
	struct weft_pod *row = pod_row(cgroup_id);

	if (!row)
		return false;
	if (copy_pod(row, cgroup_id, client))
		return true;
	counter_inc(WEFT_STALE_ROW);
	row = pod_row(cgroup_id);
	return row && copy_pod(row, cgroup_id, client);
}

/* bpf_get_current_ancestor_cgroup_id: kernel 5.7. It returns 0 below the level of the task. */
static __always_inline bool find_client(struct weft_config *config, struct client *client)
{
	u32 first = config->first_level;
	u32 last = config->last_level;

#pragma unroll
	for (u32 step = 0; step < WEFT_MAX_LEVELS; step++) {
		u64 cgroup_id;

		if (first + step > last)
			break;
		cgroup_id = bpf_get_current_ancestor_cgroup_id(first + step);
		if (!cgroup_id)
			break;
		if (find_pod(cgroup_id, client))
			return true;
	}
	return false;
}

#endif
