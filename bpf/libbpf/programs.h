/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The section of each program for libbpf; agent/kernel/programs.py has the same for BCC. */
#ifndef WEFT_PROGRAMS_H
#define WEFT_PROGRAMS_H

#include "kernel.h"

SEC("cgroup/connect4") int weft_connect4(struct bpf_sock_addr *ctx);
SEC("cgroup/connect6") int weft_connect6(struct bpf_sock_addr *ctx);
SEC("cgroup/sendmsg4") int weft_sendmsg4(struct bpf_sock_addr *ctx);
SEC("cgroup/sendmsg6") int weft_sendmsg6(struct bpf_sock_addr *ctx);
SEC("cgroup/recvmsg4") int weft_recvmsg4(struct bpf_sock_addr *ctx);
SEC("cgroup/recvmsg6") int weft_recvmsg6(struct bpf_sock_addr *ctx);
SEC("cgroup/getpeername4") int weft_getpeername4(struct bpf_sock_addr *ctx);
SEC("cgroup/getpeername6") int weft_getpeername6(struct bpf_sock_addr *ctx);
SEC("sockops") int weft_sock_ops(struct bpf_sock_ops *ctx);
SEC("sk_lookup") int weft_guard(struct bpf_sk_lookup *ctx);
SEC("sk_lookup") int weft_authorize(struct bpf_sk_lookup *ctx);
SEC("sk_lookup") int weft_audit(struct bpf_sk_lookup *ctx);

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
