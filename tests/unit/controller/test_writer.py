"""The writer of statuses: how many writes are under way at once."""

import asyncio
from typing import cast

from agent.controller.status_store import Write
from agent.controller.writer import MAX_CONCURRENT, Writer
from agent.kube.client import ApiServer
from agent.model.meta import Key

TARGETS = {Key("HTTPRoute", "app", f"r{number:03}") for number in range(10 * MAX_CONCURRENT)}


class SlowServer:
    """Answers a write when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.running = self.most = self.answered = 0

    async def send(self, *_: object) -> bytes:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.open.wait()
        self.running -= 1
        self.answered += 1
        return b"{}"


class Statuses:
    """Every object has one write."""

    def write(self, target: Key, _now: str) -> Write:
        return Write("PATCH", f"/{target.name}", {})

    def update_from_response(self, raw: bytes) -> None: ...


async def test_only_so_many_writes_are_under_way_and_all_are_sent() -> None:
    server = SlowServer()
    writer = Writer(cast(ApiServer, server), Statuses(), lambda: True, lambda *_: None)
    running = asyncio.create_task(writer.run())
    async with asyncio.timeout(30):
        writer.touch(TARGETS)
        while server.running < MAX_CONCURRENT:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # a further write would begin now
        assert server.running == MAX_CONCURRENT
        server.open.set()
        while server.answered < len(TARGETS):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert server.most == MAX_CONCURRENT
