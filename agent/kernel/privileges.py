"""Capabilities of a process that it gives up for good (capabilities(7))."""

import ctypes
from enum import IntEnum
from pathlib import Path

from agent.kernel.libc import LIBC, check

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words for each set
_PR_SET_NO_NEW_PRIVS = 38


class Capability(IntEnum):
    """Capabilities that weft names, with their numbers in linux/capability.h."""

    NET_ADMIN = 12
    BPF = 39


AGENT_CAPABILITIES = frozenset(Capability)
"""What the agent keeps. BPF lists the storage of sockets, and opens pins, maps and links on kernels that require it for
all of bpf(2) (before 5.19, where unprivileged BPF is disabled). NET_ADMIN destroys sockets, and attaches programs on
kernels that require it for that.
"""


class _Header(ctypes.Structure):
    """`struct __user_cap_header_struct`; process 0 is the calling thread."""

    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Words(ctypes.Structure):
    """`struct __user_cap_data_struct`."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def keep(kept: frozenset[Capability] = AGENT_CAPABILITIES) -> None:
    """Drop all capabilities of this thread but these, and never gain one again: neither this thread, nor those that it
    starts, nor their children by exec. Other threads keep theirs. Raises `OSError`.
    """
    if others := len(list(Path("/proc/self/task").iterdir())) - 1:
        raise RuntimeError(f"{others} other threads would keep their capabilities")
    check(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header, words = _Header(_VERSION_3, 0), (_Words * 2)()
    check(LIBC.capget(ctypes.byref(header), words))
    for number, word in enumerate(words):
        mask = sum(1 << capability % 32 for capability in kept if capability // 32 == number)
        word.effective &= mask
        word.permitted &= mask
        word.inheritable = 0
    check(LIBC.capset(ctypes.byref(header), words))
