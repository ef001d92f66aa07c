"""Audits whether Envoys serve what they acknowledged, counts drift, and removes files of Envoys that are gone."""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.waypoint.config_dump import Drift
from agent.waypoint.stale_files import remove_stale_files

log = logging.getLogger(__name__)


class Ads(Protocol):
    """The server that configures Envoys, as an audit needs it."""

    async def audit(self) -> dict[Envoy, Drift]:
        """Compare and resync every Envoy that answers; returns its drift."""


class Audit:
    """`found` is the drift that the last audit found, in lines; `total` counts that of all audits."""

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
            await self.audit()
            self._remove_stale_files()

    async def audit(self) -> None:
        """Audit once."""
        found = await self._ads.audit()
        self.total += sum(map(len, found.values()))
        self.found = [f"{envoy.id}: {line}" for envoy, drift in sorted(found.items()) for line in drift.lines()]
        if self.found:
            log.warning(
                "a waypoint does not serve what it acknowledged; resyncing it", extra={"drift": self.found[:10]}
            )

    def _remove_stale_files(self) -> None:
        try:
            gone = remove_stale_files(self._folder)
        except OSError as error:
            log.warning("files of former waypoints cannot be removed", extra={"error": str(error)})
            return
        if gone:
            log.info("removed files of former waypoints", extra={"ids": gone})
