"""Compiles by BCC, without kernel headers. Only the child process of the loader imports it: BCC maps LLVM, some 120 MB.

BCC 0.26 includes linux/bpf.h and its own helpers, but requires a kernel source tree; these nine small files are one.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.kernel.programs import Program

# How the messages begin that the output of the verifier or the compiler explains.
REFUSED, UNCOMPILED = "the kernel refused", "the BPF programs do not compile"
_DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
_INTEGERS = "".join(
    f"typedef {sign}{base} __{letter}{bits};\ntypedef {sign}{base} {letter}{bits};\n"
    for bits, base in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for letter, sign in (("s", "signed "), ("u", "unsigned "))
)
_TYPES = (
    _INTEGERS
    + "".join(f"typedef __u{bits} __{order}{bits};\n" for bits in (16, 32, 64) for order in ("be", "le"))
    + "typedef __u16 __sum16;\ntypedef __u32 __wsum;\ntypedef _Bool bool;\n"
    + "typedef unsigned long size_t;\ntypedef unsigned long uintptr_t;\n"
    + "#define __aligned_u64 __u64 __attribute__((aligned(8)))\n#define true 1\n#define false 0\n"
    + "enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17 };\n"
)
_STUB_TREE = {
    "linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n#define CONFIG_64BIT 1\n",
    "linux/types.h": _TYPES,
    "linux/version.h": "#define LINUX_VERSION_CODE 0\n#define KERNEL_VERSION(a, b, c) 0\n",
    "linux/bpf_common.h": "",
    "linux/log2.h": "",
    "asm/page.h": "",
    "uapi/linux/bpf.h": "",
    "uapi/linux/if_packet.h": "",
    "uapi/linux/if_ether.h": "",
}


class LoadError(Exception):
    """The programs could not be loaded. The message begins with one sentence for the operator. Lines of the output of
    the compiler or the verifier may follow.
    """


@contextmanager
def _stub_tree() -> Iterator[None]:
    with TemporaryDirectory(prefix="weft-stub-") as folder:
        for name, text in _STUB_TREE.items():
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = folder
        yield


def compile_source(source: str, defines: Mapping[str, int]) -> Any:
    """A `bcc.BPF` with the compiled programs, none loaded yet; BCC creates the maps. Raises `LoadError`.

    The messages of the compiler are on standard error.
    """
    sys.path.append(_DEBIAN_PACKAGES)
    try:
        from bcc import BPF  # noqa: PLC0415 - only here, only in the child
    except ImportError as error:
        raise LoadError(f"the BPF compiler is missing, install python3-bpfcc: {error}") from error
    with _stub_tree():
        try:
            return BPF(text=source.encode(), cflags=[f"-D{name}={value}" for name, value in defines.items()])
        except Exception as error:  # BCC raises no narrower type
            raise LoadError(UNCOMPILED) from error


def map_descriptor(module: Any, name: str) -> int:
    """The descriptor of a map of `compile_source`, which its programs will use."""
    from bcc import libbcc  # noqa: PLC0415 - only here, only in the child

    return int(libbcc.lib.bpf_table_fd(module.module, name.encode()))


def load_program(module: Any, program: Program) -> int:
    """The descriptor of one program of `compile_source`, loaded. Raises LoadError."""
    try:
        function = module.load_func(program.name, program.program_type, attach_type=program.attach_type)
    except Exception as error:  # BCC raises no narrower type
        raise LoadError(f"{REFUSED} {program.name}") from error
    return int(function.fd)
