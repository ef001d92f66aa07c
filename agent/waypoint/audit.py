"""Looks now and then whether Envoys serve what they acknowledged, counts what they do not, and tidies up after those
that are gone.
"""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.waypoint.config_dump import Drift
from agent.waypoint.stale_files import sweep

log = logging.getLogger(__name__)


class Ads(Protocol):
    """Who can look, and mend what is found."""

    async def audit(self) -> dict[Envoy, Drift]:
        """What each Envoy that answers does not serve as it should."""


class Audit:
    """`found` is what the last look found, `total` the sum of all looks."""

    def __init__(self, ads: Ads, folder: Path, seconds: float) -> None:
        self._ads = ads
        self._folder = folder
        self._seconds = seconds
        self.found: list[str] = []
        self.total = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()
            self._tidy()

    async def look(self) -> None:
        """Look once."""
        found = await self._ads.audit()
        self.total += sum(map(len, found.values()))
        self.found = [f"{envoy.id}: {line}" for envoy, drift in sorted(found.items()) for line in drift.lines()]
        if self.found:
            log.warning("a waypoint serves other than it acknowledged, healing it", extra={"drift": self.found[:10]})

    def _tidy(self) -> None:
        try:
            gone = sweep(self._folder)
        except OSError as error:
            log.warning("files of former waypoints cannot be removed", extra={"error": str(error)})
            return
        if gone:
            log.info("removed files of former waypoints", extra={"ids": gone})
