"""The addresses of new pods, from their own network namespaces, which the network namespace helper reads.

The status of a pod has its addresses a second after its first container began to connect. The waypoint identifies pods
by address and would refuse the pod until then. A sandbox has its addresses before a container is created.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.ir.plan import PodPlan
from agent.ir.tables import PodFlag
from agent.kernel.cgroups import pod_folders
from agent.kernel.netns.client import NetnsClient, NetnsError, query
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.facts import PodCgroup, PodSandbox

log = logging.getLogger(__name__)

# The time between two checks of a pod is 1/PART of the time since its last change, within these limits.
POLL_SECONDS, LONGEST_SECONDS, PART = 0.02, 1.0, 50
# From the cgroup of a pod to the first process of its sandbox. After it, the pod's status is the only source.
PATIENCE_SECONDS = 60.0


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
        self.due = now + min(max((now - self.since) / PART, POLL_SECONDS), LONGEST_SECONDS)
        return changed


class Sandboxes:
    """Checks the new pods below the cgroup `root` of the kubelet, until their status has their addresses.

    A sandbox may be recreated, with another address, before the status has one: a reported pod is checked again. The
    report is withdrawn when the status has the addresses, or when the sandbox is gone.

    Where the namespace of the node cannot be read, nothing is reported: the addresses of the node must not pass for
    those of a pod. While the helper does not answer, what was reported stays. `pods` returns the plans of the pods of
    the node, by cgroup id.
    """

    def __init__(self, root: Path, helper: NetnsClient, pods: Callable[[], Mapping[int, PodPlan]] = dict) -> None:
        self._root = root
        self._helper = helper
        self._pods = pods
        self._awaited: dict[str, _Awaited] = {}
        self._gone: list[Change] = []
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._is_warned = False

    @property
    def awaited(self) -> set[str]:
        """The uids of the pods that are being checked."""
        return set(self._awaited)

    def expect(self, changes: Iterable[Change]) -> None:
        """Add new pod cgroups, and remove those that are gone."""
        for change in changes:
            match change:
                case Upsert(PodCgroup() as made):
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
            batch += self._note(await asyncio.to_thread(self._read_addresses, due) if due else {})
            if batch:
                yield batch

    def _read_addresses(self, uids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of the sandboxes of these pods; empty where there is none. Those that were reported while the
        helper does not answer.
        """
        folders = pod_folders(self._root)
        queries = {uid: query(self._root, folders[uid]) for uid in uids if uid in folders}
        try:
            seen = self._helper.look(queries.values())
        except NetnsError:
            return {uid: pod.reported for uid in uids if (pod := self._awaited.get(uid))}
        if not seen.knows_node:
            self._warn()
            return dict.fromkeys(uids, ())
        networks = {uid: seen.networks.get(requested.pod) for uid, requested in queries.items()}
        return {uid: found.addresses if (found := networks.get(uid)) else () for uid in uids}

    def _warn(self) -> None:
        if not self._is_warned:
            log.warning("addresses of new pods come from their status only: no access to the network of the node")
        self._is_warned = True

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
