"""The agent's side of xDS for tests that are plain functions."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from agent.ir.access_log import AccessLogEntry
from agent.ir.addresses import Addresses
from agent.ir.resources import Json, ResourceName
from agent.waypoint.config_dump import Drift
from agent.waypoint.server import AdsServer

PATIENCE = 20.0
# Where every listener listens.
WAYPOINT = "127.0.0.2"


class AdsThread:
    """An ADS server in a thread with an event loop of its own, so that tests can be plain functions.

    `exchanges` are the requests that Envoys have logged since it started.
    """

    def __init__(self, path: Path) -> None:
        self.exchanges: list[AccessLogEntry] = []
        self.server = AdsServer(path, Addresses(WAYPOINT), self.exchanges.extend)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(PATIENCE)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self.server.start()
        self._started.set()
        await self._ended.wait()
        await self.server.stop()

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """As the agent does it."""
        asyncio.run_coroutine_threadsafe(self.server.publish(resources, ports), self._loop).result(PATIENCE)

    def audit(self) -> Drift:
        """What the one Envoy does not serve as it acknowledged."""
        (found,) = asyncio.run_coroutine_threadsafe(self.server.audit(), self._loop).result(PATIENCE).values()
        return found

    def stop(self) -> None:
        """Hang up and end the thread."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
