"""How much of its log Envoy dropped because nobody read it in time, asked of its admin interface."""

import asyncio
from pathlib import Path

from agent.waypoint.admin import AdminError, entries_dropped
from agent.waypoint.process import admin_socket

ASK_SECONDS = 10.0


class Dropped:
    """Counts over all Envoys whose admin sockets are, or were, in a folder, also when one starts anew."""

    def __init__(self, folder: Path) -> None:
        self._pattern = admin_socket(folder, "*")
        self._seen: dict[str, int] = {}
        self.total = 0

    async def run(self) -> None:
        """Ask now and then, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_SECONDS)

    async def ask(self) -> None:
        """Ask every Envoy that answers; those whose sockets are gone are forgotten."""
        sockets = sorted(self._pattern.parent.glob(self._pattern.name))
        self._seen = {path.name: self._seen.get(path.name, 0) for path in sockets}
        for path in sockets:
            try:
                count = await entries_dropped(path)
            except AdminError:
                continue
            before = self._seen[path.name]
            # Less than before: another Envoy, which counts from 0.
            self.total += count - before if count >= before else count
            self._seen[path.name] = count
