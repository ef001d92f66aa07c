"""Has connected sockets of pods ended when their backend is gone. `reap` does it, in a process of its own.

Unconnected sockets need no such help: each datagram is decided anew.
"""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agent.plan.tables import Place, Protocol, address_text
from agent.reconcile.driver import Shrunk

log = logging.getLogger(__name__)

REST_SECONDS = 0.3  # between two runs: what comes meanwhile goes together


class Reaper:
    """Starts that process when frontends lost backends; `run` it beside the control loop."""

    def __init__(self, pins: Path, kubepods: Path, spared: Callable[[], list[str]]) -> None:
        """`spared` are the waypoints' addresses: going there is no backend's loss."""
        self._command = ["-m", "agent.kernel.reap", "--pins", str(pins), "--kubepods", str(kubepods)]
        self._spared = spared
        self.waiting: dict[tuple[Protocol, Place], Shrunk] = {}
        self._wake = asyncio.Event()
        self.ended: Counter[Protocol] = Counter()
        self.runs = 0

    def counts(self) -> dict[str, int]:
        """Sockets ended so far, by protocol."""
        return {protocol.name.lower(): self.ended[protocol] for protocol in Protocol}

    def submit(self, frontends: Iterable[Shrunk]) -> None:
        """Look after these frontends' sockets soon; the latest word on a frontend counts."""
        self.waiting |= {(shrunk.protocol, shrunk.place): shrunk for shrunk in frontends}
        if self.waiting:
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self.waiting = self.waiting, {}
            if not await self._reap(list(waiting.values())):
                self.waiting = waiting | self.waiting
            self.runs += 1
            await asyncio.sleep(REST_SECONDS)

    async def _reap(self, frontends: list[Shrunk]) -> bool:
        """One run of the process; False when it failed. What it was told is then said again with what comes next."""
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            log.warning("sockets of gone backends could not be ended", extra={"error": str(error)})
            return False
        said, complaint = await child.communicate(json.dumps(document(frontends, self._spared())).encode())
        if child.returncode:
            text = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            log.warning("sockets of gone backends could not be ended", extra={"error": text})
            return False
        ended = Counter({Protocol(int(number)): count for number, count in json.loads(said).items()})
        self.ended += ended
        if ended:
            counts = {protocol.name.lower(): count for protocol, count in ended.items()}
            log.info("ended sockets of gone backends", extra=counts)
        return True


def document(frontends: Iterable[Shrunk], spared: list[str]) -> dict[str, Any]:
    """What `reap` reads: addresses to spare, and each frontend with the backends that it still has."""
    return {
        "spared": spared,
        "frontends": [
            [shrunk.protocol, _written(shrunk.place), [_written(backend) for backend in sorted(shrunk.backends)]]
            for shrunk in frontends
        ],
    }


def _written(place: Place) -> tuple[str, int]:
    return address_text(place[0]), place[1]
