"""Network namespaces of processes, found and opened in /proc. Others' need CAP_SYS_PTRACE; to enter one needs
CAP_SYS_ADMIN (ptrace(2), setns(2)).
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agent.kernel.addresses import PROC, local_addresses
from agent.kernel.cgroups import GONE, processes
from agent.kernel.libc import LIBC, check

# A pod may have as many processes as its limit allows, each in a namespace of its own.
MOST_PROCESSES = 4096
_CLONE_NEWNET = 0x40000000
ROUTE, SOCK_DIAG, GENERIC = 0, 4, 16  # linux/netlink.h
# asm-generic/socket.h, linux/if_ether.h
_SO_ATTACH_FILTER, _SO_LOCK_FILTER, _ETH_P_ALL = 26, 44, 3
# Of headers that wait to be read, with what the kernel adds to each.
QUEUE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """A network namespace: its inode number, and the /proc folder of a process that was in it."""

    inode: int
    process: Path

    def addresses(self) -> frozenset[str]:
        """Its addresses; empty where the process has left it or ended, or its id was reused by another process."""
        with suppress(OSError):
            found = frozenset(local_addresses(self.process))
            return found if network(self.process) == self.inode else frozenset()
        return frozenset()

    def open(self) -> int | None:
        """A descriptor of the namespace; None where the process has left it or ended. Raises other `OSError`s."""
        try:
            descriptor = os.open(self.process / "ns/net", os.O_RDONLY)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        if os.fstat(descriptor).st_ino == self.inode:
            return descriptor
        os.close(descriptor)
        return None


def network(process: Path) -> int | None:
    """The inode number of the network namespace of a process; None where it is gone, or access is denied."""
    with suppress(OSError):
        return (process / "ns/net").stat().st_ino
    return None


def node_networks(node: str) -> frozenset[int | None]:
    """Inode numbers of the network namespaces of the node and of this process; None for one that cannot be read. `node`
    is the /proc folder name of a process on the network of the node.
    """
    return frozenset(network(PROC / process) for process in (node, "self"))


def network_namespaces(folder: Path) -> Iterator[NetworkNamespace]:
    """Each network namespace of the first `MOST_PROCESSES` processes of a cgroup, once.

    Raises `PermissionError` at the end where there were processes and access to all of them was denied.
    """
    seen: set[int] = set()
    refused: PermissionError | None = None
    for process in islice(processes(folder), MOST_PROCESSES):
        try:
            inode = (process / "ns/net").stat().st_ino
        except PermissionError as found:  # for one process: a security module denies access
            refused = found
            continue
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue
        if inode not in seen:
            seen.add(inode)
            yield NetworkNamespace(inode, process)
    if refused and not seen:
        raise refused


def leave_network() -> None:
    """Move this process to a new network namespace, which is empty: it can reach nothing. Raises `OSError`."""
    check(LIBC.unshare(_CLONE_NEWNET))


def netlink_socket(namespace: int, protocol: int = SOCK_DIAG) -> int:
    """A new netlink(7) socket in a network namespace, given by a descriptor. Raises `OSError`."""
    with _entered(namespace):
        return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, protocol).detach()


def frame_socket(namespace: int, link: str, code: bytes) -> int:
    """A new packet(7) socket at a link of a network namespace, given by a descriptor, that gives what a classic BPF
    program passes; nobody can change the program any more. It queues a few hundred headers. Raises `OSError`.
    """
    with _entered(namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    try:
        instructions = ctypes.create_string_buffer(code, len(code))
        filtering = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))  # struct sock_fprog
        made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)
        made.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)
        made.bind((link, _ETH_P_ALL))
    except BaseException:
        made.close()
        raise
    return made.detach()


@contextmanager
def _entered(namespace: int) -> Iterator[None]:
    """Run in a network namespace. Ends the process if it cannot return to its own."""
    own = os.open(PROC / "thread-self/ns/net", os.O_RDONLY)
    try:
        check(LIBC.setns(namespace, _CLONE_NEWNET))
        try:
            yield
        finally:
            if LIBC.setns(own, _CLONE_NEWNET):
                raise SystemExit("cannot return to the network namespace of this process")
    finally:
        os.close(own)
