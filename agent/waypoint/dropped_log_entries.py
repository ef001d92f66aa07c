"""Access log entries that Envoy dropped because the agent did not read them in time, from its admin interface."""

import asyncio
from pathlib import Path

from agent.waypoint.admin import AdminError, entries_dropped
from agent.waypoint.process import admin_socket

POLL_SECONDS = 10.0


class DroppedLogEntries:
    """The sum over all Envoys whose admin sockets are, or were, in a folder, also over restarts."""

    def __init__(self, folder: Path) -> None:
        self._pattern = admin_socket(folder, "*")
        self._seen: dict[str, int] = {}
        self.total = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Read the counter of every Envoy that answers; those whose sockets are gone are forgotten."""
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
