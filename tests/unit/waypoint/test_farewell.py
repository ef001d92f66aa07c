"""Retired Envoys, played by a server on a Unix socket: told once, counted often, called back when they serve again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint import admin
from agent.waypoint.farewell import QUIET_LOOKS, Farewell
from agent.waypoint.process import admin_socket

OLD, NEW = Envoy(1, "old", Addresses("10.1.1.1")), Envoy(2, "new", Addresses("10.1.1.2"))
STATISTICS = """\
listener.10.1.1.1_20000.downstream_cx_active: {count}
listener.10.1.1.1_20000.worker_0.downstream_cx_active: {count}
listener.admin.downstream_cx_active: 1
"""


class Admin:
    """What an Envoy's admin interface is asked, and how many clients it says there are."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.count = 2

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._answer, path)
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, url, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
        known = method == "POST" or url == admin.CONNECTIONS
        if method == "POST":
            self.asked.append(url)
        body = STATISTICS.format(count=self.count)
        status = "200 OK" if known else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()


class Order:
    """Who serves, and who is retired."""

    def __init__(self) -> None:
        self.connected: Envoy | None = NEW
        self.draining = [OLD]


async def test_it_is_told_once_and_has_drained_when_nobody_was_there_for_a_while(tmp_path: Path):
    envoy, order = Admin(), Order()
    farewell = Farewell(tmp_path, lambda: order)
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await farewell.look()
        assert (farewell.leaves[OLD].connections, farewell.leaves[OLD].drained) == (2, False)
        envoy.count = 0
        for _ in range(QUIET_LOOKS - 1):
            await farewell.look()
        assert not farewell.leaves[OLD].drained
        envoy.count = 1
        await farewell.look()
        envoy.count = 0
        for _ in range(QUIET_LOOKS):
            assert not farewell.leaves[OLD].drained, "somebody came in between"
            await farewell.look()
        assert farewell.leaves[OLD].drained
    assert envoy.asked == ["/healthcheck/fail"]
    assert (tmp_path / "old-retired").read_text() == "1.0"


async def test_one_that_serves_again_is_called_back(tmp_path: Path):
    envoy, order = Admin(), Order()
    farewell = Farewell(tmp_path, lambda: order)
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await farewell.look()
        order.connected, order.draining = OLD, []
        await farewell.look()
    assert envoy.asked == ["/healthcheck/fail", "/healthcheck/ok"]
    assert (tmp_path / "old-retired").read_text() == "0.0"
    assert farewell.leaves == {}


async def test_one_that_does_not_answer_is_asked_again(tmp_path: Path):
    envoy, farewell = Admin(), Farewell(tmp_path, Order)
    await farewell.look()
    assert farewell.leaves[OLD].connections is None
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await farewell.look()
    assert (envoy.asked, farewell.leaves[OLD].connections) == (["/healthcheck/fail"], 2)
