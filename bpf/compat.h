/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Definitions that the -nostdinc environment of BCC lacks, and macros that direct its compiler. BCC
 * provides linux/bpf.h, the helpers and the integer types, and nothing else.
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
 * Each use is one load or one store of the whole value. The verifier requires context fields to be
 * written one by one; LLVM merges neighbouring stores unless they are volatile.
 */
#define READ_ONCE(x)	 (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define AF_INET6     10
#define ECONNREFUSED 111

/*
 * Offsets of the error and of the flags in struct sock. The loader reads them from the BTF of the
 * kernel. 0: the BTF does not have them, and errnos are reported as 0.
 */
#ifndef WEFT_SK_ERR
#define WEFT_SK_ERR 0
#endif
#ifndef WEFT_SK_FLAGS
#define WEFT_SK_FLAGS 0
#endif

#endif
