/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Selects a backend from a slot array with exact weights: the alias method (Walker 1977). */
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include "maps.h"

#define WEFT_SEARCH_STEPS 19 /* halves WEFT_SLOTS down to nothing */

/*
 * A 32-bit random number times the number of columns gives a column (high half) and a fraction (low
 * half). A fraction below the threshold of the column selects the column, any other its alias.
 */
static __always_inline struct weft_slot *select_slot(u32 base, u32 columns)
{
	u64 product = (u64)bpf_get_prandom_u32() * columns;
	struct weft_slot *slot = slot_row(base + (u32)(product >> 32));

	if (!slot || (u32)product < slot->threshold)
		return slot;
	return slot_row(base + slot->alias);
}

/* Negative: the slot sorts before the backend. Rejecting slots sort after all others. */
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

/* Whether a backend is in the array, by binary search: the agent writes arrays sorted. */
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
