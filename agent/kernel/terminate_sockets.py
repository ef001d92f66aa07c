"""Terminates connected sockets of pods whose backend was removed: the only part of weft that enters network namespaces
of pods.

`python -m agent.kernel.terminate_sockets --pins DIR --kubepods PATH` reads the JSON document of
`socket_terminator.document`, runs once, and prints how many sockets it terminated, by protocol.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from agent.ir.tables import AffinityEntry, Place, Protocol, UdpTarget, address_bytes
from agent.kernel import abi
from agent.kernel.cgroups import GONE, processes
from agent.kernel.links import opened
from agent.kernel.maps import HashTable
from agent.kernel.programs import Pins
from agent.kernel.sockets import Rewritten, SocketList, destroy, rewritten_tcp, rewritten_udp

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Task:
    """The remaining backends of frontends; sockets of these frontends with another backend are terminated."""

    spared: frozenset[bytes]
    frontends: Mapping[tuple[Protocol, Place], frozenset[Place]]

    def ends(self, found: Rewritten) -> bool:
        """Whether the backend of a socket was removed."""
        there = self.frontends.get((found.protocol, found.original))
        return there is not None and found.backend not in there and found.backend[0] not in self.spared


def read(document: Mapping[str, Any]) -> Task:
    """The inverse of `socket_terminator.document`."""

    def place(written: tuple[str, int]) -> Place:
        return address_bytes(written[0]), written[1]

    return Task(
        frozenset(map(address_bytes, document["spared"])),
        {
            (Protocol(protocol), place(frontend)): frozenset(map(place, backends))
            for protocol, frontend, backends in document["frontends"]
        },
    )


def namespaces(kubepods: Path) -> Iterator[Path]:
    """One path to each network namespace of the processes below `kubepods`.

    Raises `PermissionError` at the end where there were processes and access to all of them was denied.
    """
    seen: set[int] = set()
    refused: PermissionError | None = None
    for process in processes(kubepods):
        path = process / "ns/net"
        try:
            inode = os.stat(path).st_ino
        except PermissionError as found:  # for one process: a security module denies access
            refused = found
            continue
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue
        if inode not in seen:
            yield path
        seen.add(inode)
    if refused and not seen:
        raise refused


def _enter(namespace: Path) -> bool:
    """Enter a namespace with this thread; False when its last process has ended. Raises `OSError`."""
    # Not opened by pyroute2, which lists the folder first and so needs CAP_DAC_READ_SEARCH.
    try:
        descriptor = os.open(namespace, os.O_RDONLY)
    except OSError as gone:
        if gone.errno in GONE:
            return False
        raise
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(namespace))
    finally:
        os.close(descriptor)
    return True


def terminate(task: Task, storage: int, choices: Mapping[UdpTarget, AffinityEntry]) -> Counter[Protocol]:
    """Terminate the sockets of this task in the network namespace of this thread. Raises `OSError`."""
    with SocketList() as diag:
        listed = chain(rewritten_tcp(diag, storage), rewritten_udp(diag, choices))
        stale = [found for found in listed if task.ends(found)]
        return Counter(found.protocol for found in stale if destroy(diag, found))


def _die_with_parent() -> None:
    """End this process with its parent: its task is void once that agent is gone. Raises `OSError`."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def main() -> None:
    """The entry point of the process."""
    _die_with_parent()
    parser = argparse.ArgumentParser(description="terminate sockets of removed backends, as given on standard input")
    parser.add_argument("--pins", type=Path, required=True, help="weft's folder in bpffs")
    parser.add_argument("--kubepods", type=Path, required=True, help="the kubepods folder of cgroup v2")
    options = parser.parse_args()
    task, pins = read(json.load(sys.stdin)), Pins(options.pins)
    ended: Counter[Protocol] = Counter()
    with opened(pins.map_path("weft_sockets")) as storage, opened(pins.map_path("weft_udp_choices")) as table:
        choices = HashTable(table, abi.UDP_CHOICE_CODEC).load()
        for namespace in namespaces(options.kubepods):
            if _enter(namespace):
                ended += terminate(task, storage, choices)
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
