/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel types and libbpf's helpers, which BCC includes by itself. WEFT_VMLINUX takes the types
 * from a vmlinux.h instead of linux/bpf.h.
 */
#ifndef WEFT_KERNEL_H
#define WEFT_KERNEL_H

#ifdef WEFT_VMLINUX
#include "vmlinux.h"
#else
#include <linux/bpf.h>
#include <linux/in.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef _Bool bool;
#define true 1
#define false 0
#endif

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#endif
