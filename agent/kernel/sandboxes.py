"""The addresses of pods that have just begun, from their own network namespaces.

A pod's status comes to name them a second after its first container has begun to connect; the waypoint, which knows
pods by address, would refuse it until then. A sandbox has its addresses before a container is made.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from agent.kernel.cgroups import pod_folders, processes
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.facts import PodCgroup, PodSandbox

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.02
# From a pod's cgroup to its sandbox's first process. A status says it later where this is too short.
PATIENCE_SECONDS = 60.0
_PROC = Path("/proc")
_GLOBAL = "00"  # IPV6_ADDR_SCOPE of /proc/net/if_inet6


class Sandboxes:
    """Looks at the pods below the kubelet's cgroup `root` that it is told of, until their sandboxes have addresses.

    `node` is a process on the node's network, by its folder's name in /proc; where nodes are made for trials this
    process is on it too. Where it may not be looked at, nothing is told at all: the node's own addresses must not pass
    for a pod's.
    """

    def __init__(self, root: Path, node: str = "1") -> None:
        self._root = root
        self._node = node_networks(node)
        if None in self._node:
            log.warning("new pods' addresses are known by their status only: the node's network cannot be seen")
        self._awaited: dict[str, float] = {}
        self._gone: list[Change] = []
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    def expect(self, changes: Iterable[Change]) -> None:
        """Take in which pod cgroups came and went."""
        for change in changes:
            match change:
                case Upsert(PodCgroup() as made) if None not in self._node:
                    self._awaited[made.pod_uid] = self._clock() + PATIENCE_SECONDS
                case Delete(key):
                    self._awaited.pop(key.name, None)
                    self._gone.append(Delete(PodSandbox(key.name).key))
        self._wake.set()

    async def changes(self) -> AsyncIterator[list[Change]]:
        """Each sandbox when its addresses are known, and its end."""
        yield [Synced("sandboxes")]
        while True:
            if not (self._awaited or self._gone):
                await self._wake.wait()
            self._wake.clear()
            gone, self._gone = self._gone, []
            found = await asyncio.to_thread(_look, self._root, frozenset(self._awaited), self._node)
            for sandbox in found:
                self._awaited.pop(sandbox.pod_uid, None)
            now = self._clock()
            self._awaited = {uid: until for uid, until in self._awaited.items() if until > now}
            if batch := [*gone, *map(Upsert, found)]:
                yield batch
            await asyncio.sleep(LOOK_SECONDS)


def _look(root: Path, uids: frozenset[str], node: Container[int | None]) -> list[PodSandbox]:
    folders = pod_folders(root) if uids else {}
    found = (PodSandbox(uid, _addresses(folders[uid], node)) for uid in uids & folders.keys())
    return [sandbox for sandbox in found if sandbox.addresses]


def _addresses(folder: Path, node: Container[int | None]) -> tuple[str, ...]:
    """Of the first process of a pod's cgroup that is in a network namespace of its own.

    A container's runtime is there before it, in the node's namespace; and so is all of a pod on the host's network.
    """
    for process in processes(folder):
        own = network(process)
        if own is not None and own not in node:
            # It may end meanwhile.
            with suppress(OSError):
                return tuple(sorted(local_addresses(process)))
    return ()


def node_networks(node: str) -> frozenset[int | None]:
    """Inode numbers of the network namespaces of the node and of this process; None is one that cannot be seen."""
    return frozenset(network(_PROC / process) for process in (node, "self"))


def network(process: Path) -> int | None:
    """The number of a process's network namespace; None where it is gone, or not for this process to see."""
    with suppress(OSError):
        return (process / "ns/net").stat().st_ino
    return None


def own_addresses() -> tuple[str, ...]:
    """The addresses of this process's network namespace."""
    return tuple(sorted(local_addresses(_PROC / "self")))


def local_addresses(process: Path) -> Iterator[str]:
    """What a network namespace has for an address, but for loopback and links."""
    lines = (process / "net/fib_trie").read_text().splitlines()
    # "|-- 10.244.1.7" and below it "/32 host LOCAL"; the main and the local table are one list, said twice.
    hosts = {above.split()[-1] for above, line in pairwise(lines) if line.split()[1:] == ["host", "LOCAL"]}
    yield from (address for address in hosts if not address.startswith("127."))
    six = process / "net/if_inet6"  # not there where IPv6 is turned off
    for line in six.read_text().splitlines() if six.exists() else ():
        digits, _, _, scope, *_ = line.split()
        if scope == _GLOBAL:
            yield str(ipaddress.IPv6Address(bytes.fromhex(digits)))
