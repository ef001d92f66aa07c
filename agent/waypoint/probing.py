"""Connection attempts to waypoint listeners, in tasks of their own: no write to the kernel waits for the network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Protocol

from agent.waypoint.state_machine import Probe

# How many attempts run at once at one address. One address that drops packets does not delay those at another.
AT_ONCE = 32
# The pause after an attempt; it doubles while the listener is refused or silent.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class Prober(Protocol):
    """Makes one connection attempt."""

    async def accepts(self, address: str, port: int) -> bool | None:
        """Whether a waypoint accepts connections on a port; None when that is not known yet."""


class Probing:
    """One task for each wanted probe; it repeats the attempt until the probe is not wanted any more."""

    def __init__(self, prober: Prober, report: Callable[[Probe, bool | None], None]) -> None:
        self._prober = prober
        self._report = report
        self._group = asyncio.TaskGroup()
        self._tasks: dict[Probe, asyncio.Task[None]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Probes run inside this block, and all are cancelled at its end. A programming error in one ends the block."""
        async with asyncio.TaskGroup() as self._group:
            try:
                yield
            finally:
                self.want(())

    def want(self, probes: Collection[Probe]) -> None:
        """Start the probes that are new, and stop those that are not wanted any more."""
        for probe in self._tasks.keys() - set(probes):
            self._tasks.pop(probe).cancel()
        self._slots = {probe.address: self._slots.get(probe.address, asyncio.Semaphore(AT_ONCE)) for probe in probes}
        for probe in probes:
            if probe not in self._tasks:
                self._tasks[probe] = self._group.create_task(self._repeat(probe, self._slots[probe.address]))

    async def _repeat(self, probe: Probe, slots: asyncio.Semaphore) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            async with slots:
                accepted = await self._prober.accepts(probe.address, probe.port)
            self._report(probe, accepted)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if accepted is False else FIRST_PAUSE_SECONDS
