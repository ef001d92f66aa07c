"""Logs, metrics and the small HTTP server."""

import asyncio
import gc
import gzip
import json
import logging
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.ir.tables import Reason
from agent.telemetry.http import BadRequestError, HttpServer, Query, Response
from agent.telemetry.log import KeyValueFormatter
from agent.telemetry.metrics import Metrics


def line(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "levelno": logging.INFO, **extra})
    return KeyValueFormatter().format(record).partition(" ")[2]


async def test_metrics_are_the_same_made_by_a_thread_and_compressed_for_whoever_takes_that():
    metrics = Metrics("0", lambda: dict.fromkeys(Reason, 1))
    server = HttpServer({"/metrics": lambda _: rendered(metrics)})
    port = await server.start_tcp("127.0.0.1", 0)
    for accepted, compressed in (("gzip, deflate", True), ("identity", False), ("deflate, gzip;q=0", False)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /metrics HTTP/1.1\r\nAccept-Encoding: {accepted}\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert (b"Content-Encoding: gzip" in head) == compressed
        text = (gzip.decompress(body) if compressed else body).decode()
        assert without_times(text) == without_times(metrics.render())
    await server.stop()


def without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if "_created" not in line]


async def rendered(metrics: Metrics) -> Response:
    return Response.metrics(await metrics.rendered())


def test_a_line_is_fields():
    assert line("applied", writes=3, ms=1.5) == "level=info msg=applied writes=3 ms=1.5"


def test_no_value_can_forge_a_field_or_a_line():
    assert line("not used", problem='a level=error\nmsg="x"') == (
        'level=info msg="not used" problem="a level=error\\nmsg=\\"x\\""'
    )


def test_an_exception_is_a_field():
    try:
        raise ValueError("no")
    except ValueError as error:
        text = line("failed", exc_info=(ValueError, error, error.__traceback__))
    assert "ValueError: no" in text
    assert "\n" not in text


def test_metrics_keep_their_names():
    metrics = Metrics("1.2.3", lambda: {Reason.FORWARDED: 5, Reason.CLOSED: 2})
    metrics.applied(3, 0.002)
    metrics.drifted(1)
    metrics.register_table_usage(lambda: {"slots": (7, 100)})
    metrics.register_gauge("weft_waypoint_connected", "text", lambda: 1)
    metrics.register_gauges("weft_pods", "text", "mode", lambda: {"l4": 2, "unsupported": 0})
    metrics.register_xds(SimpleNamespace(acks=3, nacks=2), lambda: {"Cluster": 0, "Listener": 1}, lambda: 4)
    lines = metrics.render().splitlines()
    for wanted in (
        'weft_build_info{version="1.2.3"} 1.0',
        'weft_decisions_total{reason="forwarded",verdict="forward"} 5.0',
        'weft_datapath_events_total{event="closed"} 2.0',
        "weft_table_writes_total 3.0",
        'weft_apply_seconds_bucket{le="0.005"} 1.0',
        "weft_drift_rows_total 1.0",
        'weft_table_rows{table="slots"} 7.0',
        'weft_table_capacity{table="slots"} 100.0',
        "weft_waypoint_connected 1.0",
        'weft_pods{mode="l4"} 2.0',
        'weft_pods{mode="unsupported"} 0.0',
        *("weft_xds_acks 3.0", "weft_xds_nacks 2.0", "weft_xds_drift 4.0"),
        *('weft_xds_rejected{kind="Cluster"} 0.0', 'weft_xds_rejected{kind="Listener"} 1.0'),
    ):
        assert wanted in lines


def test_every_reason_is_counted_once():
    text = Metrics("0", lambda: dict.fromkeys(Reason, 1)).render()
    counted = [x for x in text.splitlines() if x.startswith(("weft_decisions_total", "weft_datapath_events_total"))]
    assert len(counted) == len(Reason)


def fail(_query: Query) -> Response:
    raise RuntimeError("no")


def refuse(_query: Query) -> Response:
    raise BadRequestError("x: not a number")


async def later(query: Query) -> Response:
    await asyncio.sleep(0)
    return refuse(query) if query else Response.text("c")


ROUTES = {
    "/later": later,
    "/a": lambda _: Response.text("b"),
    "/j": lambda _: Response.json({"x": 1}),
    "/q": Response.json,
    "/fail": fail,
    "/refuse": refuse,
}


async def talk(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /a HTTP/1.1", b"200 OK", b"b"),
        (b"GET /a?x=y HTTP/1.1", b"200 OK", b"b"),
        (b"GET /j HTTP/1.1", b"200 OK", b'{"x":1}'),
        (b"GET /q?a=1&b=%20&a=2&c HTTP/1.1", b"200 OK", b'{"a":"2","b":" "}'),
        (b"GET /q HTTP/1.1", b"200 OK", b"{}"),
        (b"GET /later HTTP/1.1", b"200 OK", b"c"),
        (b"GET /later?refuse=it HTTP/1.1", b"400 Bad Request", b"x: not a number\n"),
        (b"GET /refuse HTTP/1.1", b"400 Bad Request", b"x: not a number\n"),
        (b"GET /none HTTP/1.1", b"404 Not Found", b"not found\n"),
        (b"POST /a HTTP/1.1", b"405 Method Not Allowed", b"only GET\n"),
        (b"GET /fail HTTP/1.1", b"500 Internal Server Error", b"failed\n"),
        (b"\x00\xff", b"405 Method Not Allowed", b"only GET\n"),
    ],
)
async def test_answers(request_line: bytes, status: bytes, body: bytes):
    server = HttpServer(ROUTES)
    port = await server.start_tcp("127.0.0.1", 0)
    answer = await talk(port, request_line + b"\r\n\r\n")
    await server.stop()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"\r\n\r\n" + body)


async def test_a_request_without_end_is_hung_up_on():
    server = HttpServer(ROUTES)
    port = await server.start_tcp("127.0.0.1", 0)
    assert await talk(port, b"GET /a HTTP/1.1\r\nx: " + b"y" * 100_000) == b""
    assert (await talk(port, b"GET /a HTTP/1.1\r\n\r\n")).endswith(b"b")
    await server.stop()


async def test_a_slow_client_is_hung_up_on_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.telemetry.http.REQUEST_SECONDS", 0.2)
    server = HttpServer(ROUTES)
    port = await server.start_tcp("127.0.0.1", 0)
    slow, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /a HTT")
    assert (await talk(port, b"GET /a HTTP/1.1\r\n\r\n")).endswith(b"b")
    assert await asyncio.wait_for(slow.read(), 10) == b""
    writer.close()
    await server.stop()


async def test_a_response_may_take_longer_than_a_request_or_a_part_of_it(monkeypatch: pytest.MonkeyPatch):
    """As `weft status` does where there are tens of thousands of frontends."""
    monkeypatch.setattr("agent.telemetry.http.REQUEST_SECONDS", 0.5)

    async def late(_query: Query) -> Response:
        await asyncio.sleep(1)
        return Response.text("x" * 10_000_000)

    server = HttpServer({"/late": late})
    port = await server.start_tcp("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /late HTTP/1.1\r\n\r\n")
    received = 0
    while piece := await reader.read(2**20):
        received += len(piece)
        await asyncio.sleep(0.03)
    assert received > 10_000_000
    writer.close()
    await server.stop()


async def test_a_client_that_does_not_read_is_hung_up_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.telemetry.http.REQUEST_SECONDS", 0.2)
    server = HttpServer({"/big": lambda _: Response.text("x" * 50_000_000)})
    port = await server.start_tcp("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(b"GET /big HTTP/1.1\r\n\r\n")
    while not server.connections:
        await asyncio.sleep(0.01)
    while server.connections:
        await asyncio.sleep(0.01)
    # Until the end, and not byte by byte as the reader's limit would have it.
    received = 0
    while piece := await reader.read(2**20):
        received += len(piece)
    assert received < 50_000_000
    writer.close()
    await server.stop()


async def test_an_answer_that_fits_no_buffer_leaves_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.telemetry.http.REQUEST_SECONDS", 60)
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: errors.append(found))
    server = HttpServer({"/big": lambda _: Response.text("x" * 2_000_000)})
    await server.start_unix(tmp_path / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(b"GET /big HTTP/1.1\r\n\r\n")
    assert len(await reader.read()) > 2_000_000
    while server.connections:
        await asyncio.sleep(0.01)
    writer.close()
    await server.stop()
    gc.collect()
    assert errors == []


def test_who_waits_for_an_answer_when_the_loop_ends_is_hung_up_on():
    with socket.socket() as client:

        async def begin() -> None:
            server = HttpServer(ROUTES)
            client.connect(("127.0.0.1", await server.start_tcp("127.0.0.1", 0)))
            client.sendall(b"GET /a HTT")
            while not server.connections:
                await asyncio.sleep(0)
            await server.stop()

        asyncio.run(begin())
        gc.collect()  # finds what nobody closed
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""


async def test_a_unix_socket_is_its_owner_s_from_the_first_moment_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modes: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda path, mode: modes.append(path.stat().st_mode & 0o777))
    mask = os.umask(0)
    try:
        server = HttpServer(ROUTES)
        await server.start_unix(tmp_path / "s")
        modes.append((tmp_path / "s").stat().st_mode & 0o777)
        (tmp_path / "other").touch()
        assert (tmp_path / "other").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(mask)
        await server.stop()
    assert modes == [0o600]


async def test_a_unix_socket_is_its_owner_s_and_replaces_a_dead_one(tmp_path: Path):
    path = tmp_path / "s"
    path.write_text("left over")
    server = HttpServer(ROUTES)
    await server.start_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /j HTTP/1.1\r\n\r\n")
    assert json.loads((await reader.read()).partition(b"\r\n\r\n")[2]) == {"x": 1}
    writer.close()
    await server.stop()
