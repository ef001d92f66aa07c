"""Nobody takes the metrics server's connections from others: not by many, and not by saying nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.telemetry import http
from agent.telemetry.http import HttpServer, Response

ATTACKER, MORE = "127.0.0.2", [f"127.0.0.{number}" for number in range(10, 18)]
GET = b"GET /a HTTP/1.1\r\n\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Metrics:
    """A server on TCP, and who is connected to it."""

    def __init__(self) -> None:
        self.never = asyncio.Event()
        self.server = HttpServer({"/a": lambda _: Response.text("b"), "/late": self._late})
        self.port = 0
        self.open: list[Stream] = []

    async def _late(self, _query: http.Query) -> Response:
        await self.never.wait()
        return Response.text("c")

    async def connect(self, host: str, sent: bytes = b"") -> Stream:
        stream = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        stream[1].write(sent)
        self.open.append(stream)
        return stream

    async def storm(self, host: str, count: int, sent: bytes = b"") -> list[Stream]:
        """Connections of one address, all of which the server has seen."""
        made = [await self.connect(host, sent) for _ in range(count)]
        await self.settle()
        return made

    async def settle(self) -> None:
        """Have the server look at everything that came."""
        for _ in range(20):
            await asyncio.sleep(0.005)

    async def ask(self, host: str) -> bytes:
        reader, _ = await self.connect(host, GET)
        with suppress(ConnectionResetError):
            return await asyncio.wait_for(reader.read(), 10)
        return b""


@pytest.fixture
async def metrics() -> AsyncIterator[Metrics]:
    made = Metrics()
    made.port = await made.server.start_tcp("127.0.0.1", 0)
    yield made
    for _, writer in made.open:
        writer.transport.abort()
    await made.server.stop()
    made.never.set()
    while made.server.connections:
        await asyncio.sleep(0.005)


async def is_closed(stream: Stream) -> bool:
    with suppress(ConnectionResetError):
        return await asyncio.wait_for(stream[0].read(), 10) == b""
    return True


@pytest.mark.parametrize("sent", [b"", b"GET /a", b"GET /late HTTP/1.1\r\n\r\n"], ids=["silent", "half", "slow"])
async def test_one_address_keeps_nobody_out(metrics: Metrics, sent: bytes) -> None:
    await metrics.storm(ATTACKER, 80, sent)
    assert metrics.server.connections == http.MAX_OF_ADDRESS
    for _ in range(3):
        assert (await metrics.ask("127.0.0.1")).endswith(b"b")


@pytest.mark.parametrize("sent", [b"", b"GET /late HTTP/1.1\r\n\r\n"], ids=["silent", "slow"])
async def test_several_addresses_keep_nobody_out(metrics: Metrics, sent: bytes) -> None:
    for host in MORE:
        await metrics.storm(host, http.MAX_OF_ADDRESS, sent)
    assert metrics.server.connections == http.MAX_CONNECTIONS
    assert (await metrics.ask("127.0.0.1")).endswith(b"b")


async def test_the_oldest_that_is_silent_is_closed(metrics: Metrics) -> None:
    busy = await metrics.storm(ATTACKER, 1, b"GET /late HTTP/1.1\r\n\r\n")
    silent = await metrics.storm(ATTACKER, http.MAX_OF_ADDRESS - 1)
    assert (await metrics.ask(ATTACKER)).endswith(b"b")
    assert await is_closed(silent[0])
    metrics.never.set()
    assert (await asyncio.wait_for(busy[0][0].read(), 10)).endswith(b"c")


async def test_who_has_not_more_than_others_keeps_what_is_being_answered(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.telemetry.http.MAX_CONNECTIONS", 2)
    for host in MORE[:2]:
        await metrics.storm(host, 1, b"GET /late HTTP/1.1\r\n\r\n")
    assert await metrics.ask(MORE[0]) == b"", "one of two for each: there is nothing to take"


async def test_a_server_of_its_own_answers_whatever_becomes_of_others(metrics: Metrics, tmp_path: Path) -> None:
    health = HttpServer({"/a": lambda _: Response.text("b")})
    await health.start_unix(tmp_path / "health.sock")
    await metrics.storm(ATTACKER, 80)
    for _ in range(2 * http.MAX_OF_ADDRESS):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "health.sock")
        writer.write(GET)
        assert (await reader.read()).endswith(b"b")
        writer.close()
    await health.stop()
