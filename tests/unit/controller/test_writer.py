"""The writer of statuses: how many writes are under way at once, and whose is next."""

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
        self.paths: list[str] = []

    async def send(self, _method: str, path: str, *_: object) -> bytes:
        self.paths.append(path)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.open.wait()
        self.running -= 1
        self.answered += 1
        return b"{}"


class Statuses:
    """Every object has one write."""

    def write(self, target: Key, _now: str) -> Write:
        return Write("PATCH", f"/{target.namespace}/{target.name}", {})

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


async def test_a_namespace_with_much_to_write_has_no_more_turns_than_others() -> None:
    server = SlowServer()
    server.open.set()
    writer = Writer(cast(ApiServer, server), Statuses(), lambda: True, lambda *_: None)
    running = asyncio.create_task(writer.run())
    others = {Key("HTTPRoute", "shop", f"r{number}") for number in range(3)}
    async with asyncio.timeout(30):
        writer.touch(TARGETS | others)
        while server.answered < len(TARGETS | others):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert [path.split("/")[1] for path in server.paths[:6]] == ["app", "shop"] * 3


async def test_an_object_that_changes_while_it_is_written_is_written_again() -> None:
    server = SlowServer()
    writer = Writer(cast(ApiServer, server), Statuses(), lambda: True, lambda *_: None)
    running = asyncio.create_task(writer.run())
    (target, *_) = TARGETS
    async with asyncio.timeout(30):
        writer.touch([target])
        while not server.running:
            await asyncio.sleep(0.01)
        writer.touch([target])
        await asyncio.sleep(0.1)  # a further write would begin now
        assert server.running == 1
        server.open.set()
        while server.answered < 2:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert server.most == 1
