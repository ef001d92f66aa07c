"""What Envoys dropped of their logs, summed over all that there are and were."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.waypoint.dropped_log_entries import DroppedLogEntries
from agent.waypoint.process import admin_socket


@asynccontextmanager
async def envoy(folder: Path, name: str, dropped: int | None) -> AsyncIterator[None]:
    """An admin interface that says one counter, or does not know it yet."""
    body = "" if dropped is None else f"access_logs.grpc_access_log.logs_dropped: {dropped}\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, admin_socket(folder, name))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def test_all_envoys_are_summed_and_nothing_twice(tmp_path: Path):
    dropped = DroppedLogEntries(tmp_path)
    async with envoy(tmp_path, "blue", 3), envoy(tmp_path, "green", 4):
        await dropped.poll()
        await dropped.poll()
    assert dropped.total == 7


async def test_an_envoy_that_starts_anew_counts_from_nothing(tmp_path: Path):
    dropped = DroppedLogEntries(tmp_path)
    for count in (10, None, 2, 5):
        async with envoy(tmp_path, "blue", count):
            await dropped.poll()
        admin_socket(tmp_path, "blue").unlink(missing_ok=True)
    assert dropped.total == 15


async def test_a_socket_that_nobody_listens_on_is_no_error(tmp_path: Path):
    dropped = DroppedLogEntries(tmp_path)
    async with envoy(tmp_path, "blue", 1):
        await dropped.poll()
    admin_socket(tmp_path, "green").touch()
    await dropped.poll()
    assert dropped.total == 1
