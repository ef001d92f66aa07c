"""A small HTTP server for GET: metrics and health on TCP, the agent's own answers on a Unix socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

log = logging.getLogger(__name__)

REQUEST_LIMIT = 8192
REQUEST_SECONDS = 5.0
Query = Mapping[str, str]
MAX_CONNECTIONS = 64  # at once, so that no peer can use up the agent's descriptors


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    body: bytes
    content_type: str
    status: int = 200

    @classmethod
    def text(cls, body: str, status: int = 200) -> "Response":
        """Plain text, as Prometheus reads it."""
        return cls(body.encode(), "text/plain; version=0.0.4; charset=utf-8", status)

    @classmethod
    def json(cls, value: Any) -> "Response":
        """A JSON document."""
        return cls(msgspec.json.encode(value), "application/json")

    def encode(self) -> bytes:
        """The bytes of the answer; the connection ends behind it."""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + self.body


# Those who have much to say take their time, and let others have theirs.
Route = Callable[[Query], Response | Awaitable[Response]]


class BadRequestError(Exception):
    """What was asked for makes no sense; the message says why."""


class HttpServer:
    """Answers GET by path and query, one answer a connection. A slow or broken client hurts nobody but itself."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._servers: list[asyncio.Server] = []
        # How many are open, of those that it answers.
        self.connections = 0

    async def start_tcp(self, host: str, port: int) -> int:
        """Listen on an address; returns the port, which is chosen when 0 is given. Raises `OSError`."""
        server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_LIMIT)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner can use; one that a dead agent left is replaced."""
        path.unlink(missing_ok=True)
        self._servers.append(await asyncio.start_unix_server(self._serve, path, limit=REQUEST_LIMIT))
        path.chmod(0o600)

    async def stop(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._converse(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            # Not `close`, which waits for ever for a client that does not read. Also when the loop ends.
            writer.transport.abort()
            self.connections -= 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write((await self._answer(head)).encode())
        writer.close()
        await writer.wait_closed()

    async def _answer(self, head: bytes) -> Response:
        method, _, rest = head.decode("latin-1").partition("\r\n")[0].partition(" ")
        path, _, query = rest.partition(" ")[0].partition("?")
        if method != "GET":
            return Response.text("only GET\n", 405)
        route = self._routes.get(path)
        if route is None:
            return Response.text("not found\n", 404)
        try:
            answer = route(dict(parse_qsl(query)))
            return answer if isinstance(answer, Response) else await answer
        except BadRequestError as error:
            return Response.text(f"{error}\n", 400)
        except Exception:
            log.exception("request failed", extra={"path": path})
            return Response.text("failed\n", 500)
