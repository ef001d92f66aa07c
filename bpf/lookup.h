/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks up the index of a frontend by namespace, address, port and protocol. */
#ifndef WEFT_LOOKUP_H
#define WEFT_LOOKUP_H

#include "maps.h"

#define WEFT_NO_INDEX 0xffffffff

/* Hashes 32 bytes as four 64-bit words: `hash_words()` in agent/kernel/abi.py. */
static __always_inline u64 hash_words(const u64 *word)
{
	u64 hash = 0xcbf29ce484222325ULL;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

/*
 * The hash in a row of an address: `row_check()` in agent/kernel/authorization_rows.py. A row whose
 * words are of two keys does not have it, in whichever order the kernel writes them.
 */
static __always_inline u64 row_check(u64 first, u64 second, const struct weft_address *address)
{
	struct {
		u64 first;
		u64 second;
		struct weft_address address;
	} words = {first, second, *address};

	return hash_words((const u64 *)&words);
}

static __always_inline u32 fingerprint(const struct weft_frontend *key)
{
	return hash_words((const u64 *)key);
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
