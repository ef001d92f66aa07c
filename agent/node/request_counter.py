"""Reads what Envoys counted of requests, and keeps it over restarts of the agent.

Envoy counts since its start; the agent adds the differences. What it added, and up to where it read each Envoy, is one
file, replaced as a whole. So the next agent, also after a `kill -9`, counts each request once.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent import atomic_file
from agent.ir.request_stats import Growth, Sums
from agent.telemetry.request_log import RequestCounts
from agent.telemetry.requests import Edge, Requests
from agent.waypoint import admin
from agent.waypoint.admin import AdminError
from agent.waypoint.process import admin_socket
from agent.waypoint.request_stats import Process, parse

log = logging.getLogger(__name__)

# Far below the time after which Envoy removes a series, and as often as it merges its histograms.
READ_SECONDS = 5.0
# While an Envoy is replaced, since it ends soon after its last request, and until the agent is ready.
BRIEF_SECONDS = 1.0
# Between two readings for scrapes, and how long a scrape waits for one.
LEAST_SECONDS, SCRAPE_SECONDS = 1.0, 2.0
# Reading takes at most a fiftieth of the time, however many series there are.
PAUSE_FACTOR = 50


class Saved(msgspec.Struct, array_like=True):
    """The file. A process is named by its admin socket: the file's name, inode and time."""

    processes: dict[str, Process]
    edges: list[tuple[Edge, Sums]]


class RequestCounter:
    """Adds what every Envoy with an admin socket in a folder counts to the metrics."""

    def __init__(self, folder: Path, file: Path, counts: RequestCounts, requests: Requests) -> None:
        """`file` is the agent's own; Envoys cannot write to its folder."""
        self._pattern = admin_socket(folder, "*")
        self._file = file
        self._counts = counts
        self._requests = requests
        self._reading = asyncio.Lock()
        self._processes: dict[str, Process] = {}
        self._begun = False
        self._read_at = -LEAST_SECONDS
        self._for_scrape: asyncio.Task[None] | None = None
        self._restore()

    async def run(self, ready: Callable[[], bool]) -> None:
        """Read until cancelled. It begins when the agent is `ready` for the first time: before, clients have no names.
        What Envoys count meanwhile is not lost.
        """
        clock = asyncio.get_running_loop().time
        while True:
            began, self._begun = clock(), self._begun or ready()
            await self.read()
            steady = self._begun and len(self._processes) < 2
            pause = READ_SECONDS if steady else BRIEF_SECONDS
            await asyncio.sleep(max(pause, PAUSE_FACTOR * (clock() - began)))

    async def refresh(self) -> None:
        """Read for a scrape, which waits for slow Envoys only so long. Many scrapes are one reading a second."""
        now = asyncio.get_running_loop().time()
        if now < self._read_at + LEAST_SECONDS:
            return
        self._read_at = now
        # Not awaited itself: to cancel it would lose what it has read.
        self._for_scrape = asyncio.create_task(self.read())
        await asyncio.wait([self._for_scrape], timeout=SCRAPE_SECONDS)

    async def read(self) -> None:
        """Read every Envoy that answers, and save the result."""
        if not self._begun:
            return
        async with self._reading:
            found = self._sockets()
            changed = self._processes.keys() - found.keys()
            self._processes = {name: self._processes.get(name) or Process() for name in found}
            for name, path in found.items():
                growth = await self._grow(path, self._processes[name])
                self._counts.record(growth)
                changed |= {name} if growth else set()
            if changed:
                saved = msgspec.msgpack.encode(Saved(self._processes, self._requests.saved()))
                await asyncio.to_thread(self._save, saved)

    def _sockets(self) -> dict[str, Path]:
        """The admin sockets, by the name of their process."""
        found = {}
        for path in sorted(self._pattern.parent.glob(self._pattern.name)):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            found[f"{path.name} {status.st_ino} {status.st_mtime_ns}"] = path
        return found

    @staticmethod
    async def _grow(path: Path, process: Process) -> Growth:
        try:
            return await asyncio.to_thread(lambda: process.grow(parse(admin.request_statistics(path))))
        except (AdminError, ValueError) as error:
            log.debug("a waypoint's statistics cannot be read", extra={"path": str(path), "error": str(error)})
            return []

    def _save(self, saved: bytes) -> None:
        try:
            atomic_file.replace(self._file, saved)
        except OSError as error:
            log.warning("counts of requests cannot be saved", extra={"error": str(error)})

    def _restore(self) -> None:
        """Continue what the last agent saved; without a file, or with one of another version, from what Envoys hold."""
        try:
            saved = msgspec.msgpack.decode(self._file.read_bytes(), type=Saved)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.warning("counts of requests cannot be restored", extra={"error": str(error)})
            return
        self._processes = saved.processes
        self._requests.restore(saved.edges)
