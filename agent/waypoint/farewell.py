"""Retired Envoys: they are told to let their clients go, and watched until nobody is connected to them any more.

A request is never cut: an HTTP connection ends with its next response, what streams goes on. A connection that is idle
has no next response: it is closed when it was idle for 5 s, as servers do; only a request that is sent at that very
instant is lost, and clients send such a one again. Ending the process is the business of whoever started it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.waypoint import admin
from agent.waypoint.process import admin_socket, say_retired

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
# A connection may be on its way, or wait to be accepted: nobody is there only when nobody was for a while.
QUIET_LOOKS = 4


@dataclass(slots=True)
class Leave:
    """How far a retired Envoy is: how many are connected to it (None: not known), and for how many looks nobody was."""

    connections: int | None = None
    quiet: int = 0

    @property
    def drained(self) -> bool:
        """Whether ending it harms nobody."""
        return self.quiet >= QUIET_LOOKS

    def see(self, connections: int | None) -> None:
        """Note what one more look has shown."""
        self.connections = connections
        self.quiet = self.quiet + 1 if connections == 0 else 0


class Order(Protocol):
    """Which Envoy is active, and which were before."""

    @property
    def connected(self) -> Envoy | None:
        """The active Envoy, while it is connected."""

    @property
    def draining(self) -> list[Envoy]:
        """Envoys that were active before, and are still there."""


class Farewell:
    """Looks at the retired Envoys of a node, by the admin sockets in a folder."""

    def __init__(self, folder: Path, order: Callable[[], Order]) -> None:
        self._folder = folder
        self._order = order
        self._told: set[Envoy] = set()
        self.leaves: dict[Envoy, Leave] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Tell those who have not been told, and count who is connected."""
        retired = self._order().draining
        for envoy in self._told - set(retired):
            await self._take_back(envoy)
        for envoy in retired:
            self.leaves.setdefault(envoy, Leave()).see(await self._see_off(envoy))
        self.leaves = {envoy: leave for envoy, leave in self.leaves.items() if envoy in retired}

    async def _see_off(self, envoy: Envoy) -> int | None:
        socket = admin_socket(self._folder, envoy.id)
        try:
            if envoy not in self._told:
                await admin.leave(socket)
                say_retired(self._folder, envoy.id, retired=True)
                self._told.add(envoy)
                log.info("waypoint drains", extra={"id": envoy.id, "addresses": str(envoy.addresses)})
            return await admin.connections(socket)
        except (admin.AdminError, OSError) as error:
            log.info("a retired waypoint does not answer", extra={"id": envoy.id, "error": str(error)})
            return None

    async def _take_back(self, envoy: Envoy) -> None:
        """One that is gone needs nothing; one that serves again, because its successor was lost, keeps its clients."""
        self._told.discard(envoy)
        if envoy == self._order().connected:
            try:
                say_retired(self._folder, envoy.id, retired=False)
                await admin.stay(admin_socket(self._folder, envoy.id))
            except (admin.AdminError, OSError) as error:
                log.warning("a waypoint that serves again drains", extra={"id": envoy.id, "error": str(error)})
