"""Which of this node's waypoints takes the traffic: by the API, where each is a pod that comes and goes.

During an upgrade there are two. The new one gets everything that Envoy gets; once it accepts connections wherever the
old one does, the kernel sends new connections to it, and the old one keeps those that it has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator

from agent.model.change import Change, Delete, Upsert
from agent.model.core import Pod
from agent.model.meta import Key
from agent.translate.enrolment import WAYPOINT, own

log = logging.getLogger(__name__)

TRY_SECONDS = 0.2


class Succession:
    """The waypoint in charge. `serves` proves a successor, `move` has the traffic follow (address, whether proved)."""

    def __init__(self, serves: Callable[[str], Awaitable[bool]], move: Callable[[str, bool], None]) -> None:
        self._serves = serves
        self._move = move
        self._pods: dict[Key, Pod] = {}
        self._changed = asyncio.Event()
        self.address: str | None = None

    @property
    def addresses(self) -> list[str]:
        """Of every waypoint that is there, also of one that is not in charge."""
        return [pod.addresses[0] for pod in self._pods.values()]

    def update(self, changes: Iterable[Change]) -> None:
        """Take note of waypoints. Where the one in charge is gone, or never was, its successor is not asked first."""
        for key, pod in _waypoints(changes):
            self._pods.pop(key, None)
            if pod is not None:
                self._pods[key] = pod
        successor = self._successor()
        if successor is not None and self.address not in self.addresses:
            self._take_over(successor, proved=False)
        self._changed.set()

    async def run(self) -> None:
        """Have younger waypoints take over when they can, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            successor = self._successor()
            if successor is None or successor == self.address:
                continue
            if await self._serves(successor):
                self._take_over(successor, proved=True)
            else:
                await asyncio.sleep(TRY_SECONDS)
                self._changed.set()

    def _successor(self) -> str | None:
        """The youngest that is ready; where none is, the youngest."""
        ranked = sorted(self._pods.values(), key=lambda pod: (pod.ready, pod.age))
        return ranked[-1].addresses[0] if ranked else None

    def _take_over(self, address: str, *, proved: bool) -> None:
        log.info("waypoint takes over", extra={"address": address, "before": self.address or "", "proved": proved})
        self.address = address
        self._move(address, proved)


def _waypoints(changes: Iterable[Change]) -> Iterator[tuple[Key, Pod | None]]:
    """The changes that are about waypoints: each pod, or None when it is of no use any more."""
    for change in changes:
        if isinstance(change, Delete):
            yield change.key, None
        elif isinstance(change, Upsert) and isinstance(change.value, Pod) and own(change.value, WAYPOINT):
            pod = change.value
            yield pod.key, pod if pod.addresses and not pod.finished else None
