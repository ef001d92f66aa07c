/* SPDX-License-Identifier: GPL-2.0 */
/* From a slot array to one backend, with exact weights: Walker's alias method. */
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include "maps.h"

/*
 * One 32-bit draw, multiplied by the number of columns, is a column (high half) and a fraction
 * within it (low half). The fraction either stays below the column's threshold or goes to its
 * alias.
 */
static __always_inline struct weft_slot *pick(u32 base, u32 columns)
{
	u64 product = (u64)bpf_get_prandom_u32() * columns;
	struct weft_slot *slot = slot_row(base + (u32)(product >> 32));

	if (!slot || (u32)product < slot->threshold)
		return slot;
	return slot_row(base + slot->alias);
}

#endif
