/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks up the index of a frontend by namespace, address, port and protocol. */
#ifndef WEFT_LOOKUP_H
#define WEFT_LOOKUP_H

#include "maps.h"

#define WEFT_NO_INDEX 0xffffffff

/* Hashes the 32 bytes of a key as four 64-bit words: `fingerprint()` in agent/kernel/abi.py. */
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
 * Index and fingerprint are one 64-bit load. With two loads a recycled hash element could return
 * the index of another frontend.
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
