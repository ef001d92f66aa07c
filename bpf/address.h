/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses are 16 bytes; IPv4 is v4-mapped. */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H

#include "abi.h"
#include "compat.h"

static __always_inline bool same_address(const struct weft_address *a, const struct weft_address *b)
{
	return a->part[0] == b->part[0] && a->part[1] == b->part[1] && a->part[2] == b->part[2] &&
	       a->part[3] == b->part[3];
}

static __always_inline bool is_unspecified(const struct weft_address *address)
{
	return !(address->part[0] | address->part[1] | address->part[2] | address->part[3]);
}

static __always_inline bool is_ipv4(const struct weft_address *address)
{
	return !address->part[0] && !address->part[1] && address->part[2] == bpf_htonl(0xffff);
}

#endif
