"""The addresses of pods that have just begun, from their own network namespaces.

A pod's status comes to name them a second after its first container has begun to connect; the waypoint, which knows
pods by address, would refuse it until then. A sandbox has its addresses before a container is made.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from agent.ir.plan import PodPlan
from agent.ir.tables import PodFlag
from agent.kernel.cgroups import pod_folders, processes
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.facts import PodCgroup, PodSandbox

log = logging.getLogger(__name__)

# The shortest and the longest time between two looks at a pod: of the time since something changed there a fiftieth.
LOOK_SECONDS, LONGEST_SECONDS, PART = 0.02, 1.0, 50
# From a pod's cgroup to its sandbox's first process. A status says it later where this is too short.
PATIENCE_SECONDS = 60.0
_PROC = Path("/proc")
_GLOBAL = "00"  # IPV6_ADDR_SCOPE of /proc/net/if_inet6


@dataclass(slots=True)
class _Awaited:
    """A pod that is looked at: since when nothing has changed, when it is due, and what was told of it."""

    cgroup_id: int
    since: float
    due: float
    told: tuple[str, ...] = ()

    def see(self, addresses: tuple[str, ...], now: float) -> bool:
        """Note what a look has shown; whether it is something else than was told."""
        changed = addresses != self.told
        if changed:
            self.told, self.since = addresses, now
        self.due = now + min(max((now - self.since) / PART, LOOK_SECONDS), LONGEST_SECONDS)
        return changed


class Sandboxes:
    """Looks at the pods below the kubelet's cgroup `root` that it is told of, until their status names their addresses.

    A sandbox may be made anew, with another address, while the status names none: so what was told is looked at again,
    and taken back when the status takes over, or when the sandbox is gone.

    `node` is a process on the node's network, by its folder's name in /proc; where nodes are made for trials this
    process is on it too. Where it may not be looked at, nothing is told at all: the node's own addresses must not pass
    for a pod's. `pods` are the plans of the node's pods, by cgroup.
    """

    def __init__(self, root: Path, node: str = "1", pods: Callable[[], Mapping[int, PodPlan]] = dict) -> None:
        self._root = root
        self._pods = pods
        self._node = node_networks(node)
        if None in self._node:
            log.warning("new pods' addresses are known by their status only: the node's network cannot be seen")
        self._awaited: dict[str, _Awaited] = {}
        self._gone: list[Change] = []
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    @property
    def awaited(self) -> set[str]:
        """The uids of the pods that are looked at."""
        return set(self._awaited)

    def expect(self, changes: Iterable[Change]) -> None:
        """Take in which pod cgroups came and went."""
        for change in changes:
            match change:
                case Upsert(PodCgroup() as made) if None not in self._node:
                    self._awaited[made.pod_uid] = _Awaited(made.cgroup_id, self._clock(), self._clock())
                case Delete(key):
                    self._awaited.pop(key.name, None)
                    self._gone.append(Delete(PodSandbox(key.name).key))
        self._wake.set()

    async def changes(self) -> AsyncIterator[list[Change]]:
        """Each sandbox when its addresses are known or change, and its end."""
        yield [Synced("sandboxes")]
        while True:
            await self._sleep()
            batch, self._gone = self._gone, []
            batch += self._settle()
            due = frozenset(uid for uid, pod in self._awaited.items() if pod.due <= self._clock())
            found = await asyncio.to_thread(_look, self._root, due, self._node) if due else {}
            batch += self._note({uid: found.get(uid, ()) for uid in due})
            if batch:
                yield batch

    async def _sleep(self) -> None:
        """Until a pod is due, or others came or went."""
        pause = min((pod.due - self._clock() for pod in self._awaited.values()), default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if pause is None else max(pause, 0)):
                await self._wake.wait()
        self._wake.clear()

    def _settle(self) -> list[Change]:
        """Leave alone whose status says where they are: with addresses, or on the host's network."""
        plans = self._pods()
        told: list[Change] = []
        for uid, pod in list(self._awaited.items()):
            plan = plans.get(pod.cgroup_id)
            if plan is not None and (PodFlag.L4_ONLY in plan.flags or (plan.addresses and not plan.provisional)):
                del self._awaited[uid]
                told += [Delete(PodSandbox(uid).key)] if pod.told else []
        return told

    def _note(self, found: Mapping[str, tuple[str, ...]]) -> Iterator[Change]:
        """What is to be told of the pods that were looked at."""
        now = self._clock()
        for uid, addresses in found.items():
            pod = self._awaited.get(uid)
            if pod is None:  # it went meanwhile
                continue
            if pod.see(addresses, now):
                sandbox = PodSandbox(uid, addresses)
                yield Upsert(sandbox) if addresses else Delete(sandbox.key)
            elif not addresses and now - pod.since > PATIENCE_SECONDS:
                del self._awaited[uid]


def _look(root: Path, uids: frozenset[str], node: Container[int | None]) -> dict[str, tuple[str, ...]]:
    """The addresses of these pods' sandboxes, where there are any."""
    folders = pod_folders(root)
    return {uid: _addresses(folders[uid], node) for uid in uids & folders.keys()}


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
