"""Drains Envoys that another one replaced, and counts their connections until there are none.

No request is cut: an HTTP connection ends with its next response, and streams go on. An idle connection has no next
response: Envoy closes it after 5 s, as servers do. Only a request sent at that very instant is lost, and clients send
such a request again. Whoever started the Envoy ends the process.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.waypoint import admin
from agent.waypoint.process import admin_socket, set_draining

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# A connection may be on its way, or in the accept queue: only several polls in a row without one mean that there is
# none.
IDLE_POLLS = 4


@dataclass(slots=True)
class DrainStatus:
    """An Envoy's connections (None: not known), and the number of polls in a row that found none."""

    connections: int | None = None
    idle_polls: int = 0

    @property
    def drained(self) -> bool:
        """Whether the process can end without harm."""
        return self.idle_polls >= IDLE_POLLS

    def update(self, connections: int | None) -> None:
        """Record the result of one poll."""
        self.connections = connections
        self.idle_polls = self.idle_polls + 1 if connections == 0 else 0


class EnvoyRoles(Protocol):
    """Which Envoy is active, and which were active before."""

    @property
    def connected(self) -> Envoy | None:
        """The active Envoy, while it is connected."""

    @property
    def draining(self) -> list[Envoy]:
        """Envoys that were active before, and are still connected."""


class WaypointDrainer:
    """Drains the node's Envoys by their admin sockets in a folder. `statuses` has one entry for each draining Envoy."""

    def __init__(self, folder: Path, roles: Callable[[], EnvoyRoles]) -> None:
        self._folder = folder
        self._roles = roles
        self._draining: set[Envoy] = set()
        self.statuses: dict[Envoy, DrainStatus] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Begin to drain Envoys that were replaced, and count the connections of all that drain."""
        draining = self._roles().draining
        for envoy in self._draining - set(draining):
            await self._undrain(envoy)
        for envoy in draining:
            self.statuses.setdefault(envoy, DrainStatus()).update(await self._drain(envoy))
        self.statuses = {envoy: status for envoy, status in self.statuses.items() if envoy in draining}

    async def _drain(self, envoy: Envoy) -> int | None:
        socket = admin_socket(self._folder, envoy.id)
        try:
            if envoy not in self._draining:
                await admin.fail_healthcheck(socket)
                set_draining(self._folder, envoy.id, draining=True)
                self._draining.add(envoy)
                log.info("waypoint drains", extra={"id": envoy.id, "addresses": str(envoy.addresses)})
            return await admin.connections(socket)
        except (admin.AdminError, OSError) as error:
            log.info("a draining waypoint does not answer", extra={"id": envoy.id, "error": str(error)})
            return None

    async def _undrain(self, envoy: Envoy) -> None:
        """Envoy keeps its connections when it is active again because its successor was lost. One that is gone needs
        nothing.
        """
        self._draining.discard(envoy)
        if envoy == self._roles().connected:
            try:
                set_draining(self._folder, envoy.id, draining=False)
                await admin.pass_healthcheck(admin_socket(self._folder, envoy.id))
            except (admin.AdminError, OSError) as error:
                log.warning("a waypoint that is active again drains", extra={"id": envoy.id, "error": str(error)})
