"""Draining Envoys, played by a server on a Unix socket: drained once, polled often, undrained when active again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint import admin
from agent.waypoint.drainer import IDLE_POLLS, WaypointDrainer
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
        self.posted: list[str] = []
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
            self.posted.append(url)
        body = STATISTICS.format(count=self.count)
        status = "200 OK" if known else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()


class Roles:
    """Which Envoy is active, and which drains."""

    def __init__(self) -> None:
        self.connected: Envoy | None = NEW
        self.draining = [OLD]


async def test_it_is_drained_once_and_has_drained_after_several_polls_without_connections(tmp_path: Path):
    envoy, roles = Admin(), Roles()
    drainer = WaypointDrainer(tmp_path, lambda: roles)
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await drainer.poll()
        assert (drainer.statuses[OLD].connections, drainer.statuses[OLD].drained) == (2, False)
        envoy.count = 0
        for _ in range(IDLE_POLLS - 1):
            await drainer.poll()
        assert not drainer.statuses[OLD].drained
        envoy.count = 1
        await drainer.poll()
        envoy.count = 0
        for _ in range(IDLE_POLLS):
            assert not drainer.statuses[OLD].drained, "a connection came in between"
            await drainer.poll()
        assert drainer.statuses[OLD].drained
    assert envoy.posted == ["/healthcheck/fail"]
    assert (tmp_path / "old-retired").read_text() == "1.0"


async def test_one_that_is_active_again_is_undrained(tmp_path: Path):
    envoy, roles = Admin(), Roles()
    drainer = WaypointDrainer(tmp_path, lambda: roles)
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await drainer.poll()
        roles.connected, roles.draining = OLD, []
        await drainer.poll()
    assert envoy.posted == ["/healthcheck/fail", "/healthcheck/ok"]
    assert (tmp_path / "old-retired").read_text() == "0.0"
    assert drainer.statuses == {}


async def test_one_that_does_not_answer_is_asked_again(tmp_path: Path):
    envoy, drainer = Admin(), WaypointDrainer(tmp_path, Roles)
    await drainer.poll()
    assert drainer.statuses[OLD].connections is None
    async with envoy.listening(admin_socket(tmp_path, OLD.id)):
        await drainer.poll()
    assert (envoy.posted, drainer.statuses[OLD].connections) == (["/healthcheck/fail"], 2)
