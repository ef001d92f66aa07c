/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a slot array to one backend, with exact weights: Walker's alias method. */
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include "maps.h"

#define WEFT_SEARCH_STEPS 19 /* halves WEFT_SLOTS down to nothing */

/*
 * One 32-bit draw, multiplied by the number of columns, is a column (high half) and a fraction
 * within it (low half). The fraction either stays below the column's threshold or goes to its
 * alias.
 */
static __always_inline struct weft_slot *select_slot(u32 base, u32 columns)
{
	u64 product = (u64)bpf_get_prandom_u32() * columns;
	struct weft_slot *slot = slot_row(base + (u32)(product >> 32));

	if (!slot || (u32)product < slot->threshold)
		return slot;
	return slot_row(base + slot->alias);
}

/* Below 0: the slot stands before the backend. Slots that reject stand behind all others. */
static __always_inline int slot_compare(const struct weft_slot *slot,
					const struct weft_backend *backend)
{
	if (slot->reject)
		return 1;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		u32 here = bpf_ntohl(slot->address.part[i]);
		u32 there = bpf_ntohl(backend->address.part[i]);

		if (here != there)
			return here < there ? -1 : 1;
	}
	return (int)slot->port - (int)backend->port;
}

/* Whether a backend is still in an array. The agent writes arrays sorted, so halving finds it. */
static __always_inline bool slots_contain(u32 base, u32 columns, const struct weft_backend *backend)
{
	u32 low = 0;
	u32 high = columns;

	/* Bounded loops: kernel 5.3. Unrolled, the program would be twenty times as long. */
#pragma clang loop unroll(disable)
	for (int step = 0; step < WEFT_SEARCH_STEPS && low < high; step++) {
		u32 middle = low + (high - low) / 2;
		struct weft_slot *slot = slot_row(base + middle);
		int difference;

		if (!slot)
			return false;
		difference = slot_compare(slot, backend);
		if (!difference)
			return true;
		if (difference < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

#endif
