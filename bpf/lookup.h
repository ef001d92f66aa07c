/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From (namespace, address, port, protocol) to the index of a frontend. */
#ifndef WEFT_LOOKUP_H
#define WEFT_LOOKUP_H

#include "maps.h"

#define WEFT_NO_INDEX 0xffffffff

/* Mixes a key's 32 bytes as four words: `fingerprint()` in agent/kernel/abi.py. */
static __always_inline u32 fingerprint(const struct weft_frontend *key)
{
	const u64 *word = (const u64 *)key;
	u64 hash = 0xcbf29ce484222325ULL;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

/*
 * Index and fingerprint come from one load: read apart, a recycled hash element would let the
 * index of another frontend through.
 */
static __always_inline u32 find_frontend(struct weft_frontend *key)
{
	u32 expected = fingerprint(key);

#pragma unroll
	for (int attempt = 0; attempt < 2; attempt++) {
		u64 *row = frontend_row(key);
		u64 value;

		if (!row)
			return WEFT_NO_INDEX;
		value = READ_ONCE(*row);
		if (value >> 32 == expected)
			return value;
		counter_inc(WEFT_STALE_ROW);
	}
	return WEFT_NO_INDEX;
}

#endif
