"""How much of its log Envoy dropped because nobody read it in time, asked of its admin interface."""

import asyncio
import re
from pathlib import Path

from agent.waypoint.process import ADMIN_SUFFIX

ASK_SECONDS, PATIENCE_SECONDS = 10.0, 2.0
COUNTER = "access_logs.grpc_access_log.logs_dropped"
_QUESTION = f"GET /stats?filter={COUNTER} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode()
_FOUND = re.compile(rf"^{re.escape(COUNTER)}: (\d+)", re.MULTILINE)


class Dropped:
    """Counts over all Envoys whose admin sockets are, or were, in a folder, also when one starts anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, int] = {}
        self.total = 0

    async def run(self) -> None:
        """Ask now and then, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_SECONDS)

    async def ask(self) -> None:
        """Ask every Envoy that answers."""
        for socket in sorted(self._folder.glob(f"*{ADMIN_SUFFIX}")):
            count = await _count(socket)
            if count is not None:
                before = self._seen.get(socket.name, 0)
                # Less than before: another Envoy, which counts from 0.
                self.total += count - before if count >= before else count
                self._seen[socket.name] = count


async def _count(socket: Path) -> int | None:
    """The counter of one Envoy; None where none answers, and 0 where it has logged nothing yet."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(
                    f"GET /stats?filter={COUNTER} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode()
                )
                answer = (await reader.read()).decode()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return None
    found = _FOUND.search(answer)
    return int(found[1]) if found else 0
