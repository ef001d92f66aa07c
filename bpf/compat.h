/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What BCC's -nostdinc environment lacks, and what its compiler must be told.
 * BCC brings linux/bpf.h, the helpers and the integer types; nothing else is there.
 */
#ifndef WEFT_COMPAT_H
#define WEFT_COMPAT_H

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

/*
 * Each use is one load or one store of the whole value. The verifier wants context fields to be
 * written one by one, and LLVM merges neighbouring stores unless they are volatile.
 */
#define READ_ONCE(x)	 (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define AF_INET6     10
#define ECONNREFUSED 111

/*
 * Where struct sock has its error and its flags: the loader looks it up in the kernel's BTF. 0
 * where that does not say; an errno then reads as 0.
 */
#ifndef WEFT_SK_ERR
#define WEFT_SK_ERR 0
#endif
#ifndef WEFT_SK_FLAGS
#define WEFT_SK_FLAGS 0
#endif

#endif
