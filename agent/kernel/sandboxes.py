"""The addresses of new pods, from their own network namespaces.

The status of a pod has its addresses a second after its first container began to connect. The waypoint identifies pods
by address and would refuse the pod until then. A sandbox has its addresses before a container is created.
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

# The time between two checks of a pod is 1/PART of the time since its last change, within these limits.
LOOK_SECONDS, LONGEST_SECONDS, PART = 0.02, 1.0, 50
# From the cgroup of a pod to the first process of its sandbox. After it, the pod's status is the only source.
PATIENCE_SECONDS = 60.0
_PROC = Path("/proc")
_GLOBAL = "00"  # IPV6_ADDR_SCOPE of /proc/net/if_inet6


@dataclass(slots=True)
class _Awaited:
    """A pod that is checked: the time of its last change, the time of its next check, and the addresses reported."""

    cgroup_id: int
    since: float
    due: float
    reported: tuple[str, ...] = ()

    def see(self, addresses: tuple[str, ...], now: float) -> bool:
        """Record the result of a check; returns whether it differs from the addresses reported."""
        changed = addresses != self.reported
        if changed:
            self.reported, self.since = addresses, now
        self.due = now + min(max((now - self.since) / PART, LOOK_SECONDS), LONGEST_SECONDS)
        return changed


class Sandboxes:
    """Checks the new pods below the cgroup `root` of the kubelet, until their status has their addresses.

    A sandbox may be recreated, with another address, before the status has one: a reported pod is checked again. The
    report is withdrawn when the status has the addresses, or when the sandbox is gone.

    `node` is the /proc folder name of a process on the network of the node; in the lab this process is on it too. Where
    that namespace cannot be read, nothing is reported: the addresses of the node must not pass for those of a pod.
    `pods` returns the plans of the pods of the node, by cgroup id.
    """

    def __init__(self, root: Path, node: str = "1", pods: Callable[[], Mapping[int, PodPlan]] = dict) -> None:
        self._root = root
        self._pods = pods
        self._node = node_networks(node)
        if None in self._node:
            log.warning("addresses of new pods come from their status only: no access to the network of the node")
        self._awaited: dict[str, _Awaited] = {}
        self._gone: list[Change] = []
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    @property
    def awaited(self) -> set[str]:
        """The uids of the pods that are being checked."""
        return set(self._awaited)

    def expect(self, changes: Iterable[Change]) -> None:
        """Add new pod cgroups, and remove those that are gone."""
        for change in changes:
            match change:
                case Upsert(PodCgroup() as made) if None not in self._node:
                    self._awaited[made.pod_uid] = _Awaited(made.cgroup_id, self._clock(), self._clock())
                case Delete(key):
                    self._awaited.pop(key.name, None)
                    self._gone.append(Delete(PodSandbox(key.name).key))
        self._wake.set()

    async def changes(self) -> AsyncIterator[list[Change]]:
        """Yields each sandbox when its addresses become known or change, and when it ends."""
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
        """Wait until a check is due, or pods were added or removed."""
        pause = min((pod.due - self._clock() for pod in self._awaited.values()), default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if pause is None else max(pause, 0)):
                await self._wake.wait()
        self._wake.clear()

    def _settle(self) -> list[Change]:
        """Stop checking pods whose status is sufficient: it has addresses, or the pod is on the network of the host."""
        plans = self._pods()
        withdrawn: list[Change] = []
        for uid, pod in list(self._awaited.items()):
            plan = plans.get(pod.cgroup_id)
            if plan is not None and (PodFlag.L4_ONLY in plan.flags or (plan.addresses and not plan.provisional)):
                del self._awaited[uid]
                withdrawn += [Delete(PodSandbox(uid).key)] if pod.reported else []
        return withdrawn

    def _note(self, found: Mapping[str, tuple[str, ...]]) -> Iterator[Change]:
        """The changes to report for the pods that were checked."""
        now = self._clock()
        for uid, addresses in found.items():
            pod = self._awaited.get(uid)
            if pod is None:  # removed meanwhile
                continue
            if pod.see(addresses, now):
                sandbox = PodSandbox(uid, addresses)
                yield Upsert(sandbox) if addresses else Delete(sandbox.key)
            elif not addresses and now - pod.since > PATIENCE_SECONDS:
                del self._awaited[uid]


def _look(root: Path, uids: frozenset[str], node: Container[int | None]) -> dict[str, tuple[str, ...]]:
    """The addresses of the sandboxes of these pods, where there are any."""
    folders = pod_folders(root)
    return {uid: _addresses(folders[uid], node) for uid in uids & folders.keys()}


def _addresses(folder: Path, node: Container[int | None]) -> tuple[str, ...]:
    """The addresses of the first process of a pod cgroup that has a network namespace of its own.

    The container runtime is in the cgroup earlier, in the namespace of the node; so are all processes of a pod on the
    network of the host.
    """
    for process in processes(folder):
        own = network(process)
        if own is not None and own not in node:
            # The process may end meanwhile.
            with suppress(OSError):
                return tuple(sorted(local_addresses(process)))
    return ()


def node_networks(node: str) -> frozenset[int | None]:
    """Inode numbers of the network namespaces of the node and of this process; None for one that cannot be read."""
    return frozenset(network(_PROC / process) for process in (node, "self"))


def network(process: Path) -> int | None:
    """The inode number of the network namespace of a process; None where it is gone, or access is denied."""
    with suppress(OSError):
        return (process / "ns/net").stat().st_ino
    return None


def own_addresses() -> tuple[str, ...]:
    """The addresses of this process's network namespace."""
    return tuple(sorted(local_addresses(_PROC / "self")))


def local_addresses(process: Path) -> Iterator[str]:
    """The addresses of a network namespace, without loopback and link-local ones."""
    lines = (process / "net/fib_trie").read_text().splitlines()
    # "|-- 10.244.1.7" and below it "/32 host LOCAL"; the main and the local table are one list, printed twice.
    hosts = {above.split()[-1] for above, line in pairwise(lines) if line.split()[1:] == ["host", "LOCAL"]}
    yield from (address for address in hosts if not address.startswith("127."))
    six = process / "net/if_inet6"  # absent where IPv6 is disabled
    for line in six.read_text().splitlines() if six.exists() else ():
        digits, _, _, scope, *_ = line.split()
        if scope == _GLOBAL:
            yield str(ipaddress.IPv6Address(bytes.fromhex(digits)))
