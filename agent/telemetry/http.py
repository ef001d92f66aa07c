"""A small HTTP server for GET: metrics and health on TCP, the agent's own answers on a Unix socket."""

import asyncio
import gzip
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

log = logging.getLogger(__name__)

REQUEST_LIMIT = 8192
REQUEST_SECONDS = 5.0
TEXT = "text/plain; version=0.0.4; charset=utf-8"
Query = Mapping[str, str]
# Fast: a tenth of the size of metrics, at a fifth of the time that their text takes.
GZIP_LEVEL = 1
NOT = (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
# At once, so that no peer can use up the agent's descriptors; and of one address, so that none takes it from others.
MAX_CONNECTIONS, MAX_OF_ADDRESS = 64, 16


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    body: bytes
    content_type: str
    status: int = 200
    compressible: bool = False
    encoding: str = ""

    @classmethod
    def text(cls, body: str, status: int = 200) -> "Response":
        """Plain text, as Prometheus reads it."""
        return cls(body.encode(), TEXT, status)

    @classmethod
    def metrics(cls, body: bytes) -> "Response":
        """Prometheus' text format, megabytes of it: compressed for whoever takes that, as Prometheus does."""
        return cls(body, TEXT, compressible=True)

    def compressed(self) -> "Response":
        """The same by gzip. May run in a thread."""
        return replace(self, body=gzip.compress(self.body, GZIP_LEVEL), encoding="gzip")

    @classmethod
    def json(cls, value: Any) -> "Response":
        """A JSON document."""
        return cls(msgspec.json.encode(value), "application/json")

    def encode(self) -> bytes:
        """The bytes of the answer; the connection ends behind it."""
        encoding = f"Content-Encoding: {self.encoding}\r\n" if self.encoding else ""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\nContent-Type: {self.content_type}\r\n"
            f"{encoding}Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + self.body


# Those who have much to say take their time, and let others have theirs.
Route = Callable[[Query], Response | Awaitable[Response]]


class ListenError(Exception):
    """An address that cannot be listened at; the message names it."""


@contextmanager
def listening_at(place: str) -> Iterator[None]:
    """Turn what listening raises into a `ListenError` that names the place."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ListenError(f"cannot listen at {place}: {error}") from error


class BadRequestError(Exception):
    """What was asked for makes no sense; the message says why."""


@dataclass(slots=True, eq=False)
class _Connection:
    """One that is open. `host` is empty on a Unix socket; `silent` says that its request has not come."""

    host: str
    transport: asyncio.WriteTransport
    silent: bool = True


class HttpServer:
    """Answers GET by path and query, one answer a connection. A slow or broken client hurts nobody but itself: where
    there is no room for another connection, the oldest of the address that has the most of them is closed.
    """

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._servers: list[asyncio.Server] = []
        self._open: list[_Connection] = []

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def start_tcp(self, host: str, port: int) -> int:
        """Listen on an address; returns the port, which is chosen when 0 is given. Raises `OSError`."""
        server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_LIMIT)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner can use; one that a dead agent left is replaced."""
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        # Nobody else may connect at any moment, not even before the mode could be changed.
        mask = os.umask(0o177)
        try:
            listening.bind(str(path))
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(mask)
        self._servers.append(await asyncio.start_unix_server(self._serve, sock=listening, limit=REQUEST_LIMIT))

    async def stop(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(_host(writer), writer.transport)
        if not self._make_room(connection.host):
            _abort(writer.transport)
            return
        self._open.append(connection)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._converse(reader, writer, connection)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            # Not `close`, which waits for ever for a client that does not read. Also when the loop ends.
            _abort(writer.transport)
            if connection in self._open:
                self._open.remove(connection)

    def _make_room(self, host: str) -> bool:
        """Whether there is room for a connection from this address. The oldest that somebody can be asked to give goes:
        of who has the most of them, first those that are silent.
        """
        counts = Counter(connection.host for connection in self._open)
        if host and counts[host] >= MAX_OF_ADDRESS:
            candidates = [connection for connection in self._open if connection.host == host]
        elif len(self._open) >= MAX_CONNECTIONS:
            candidates = self._open
        else:
            return True
        oldest = max(candidates, key=lambda connection: (counts[connection.host], connection.silent))
        if not oldest.silent and counts[oldest.host] <= counts[host]:
            return False
        _abort(oldest.transport)
        self._open.remove(oldest)
        return True

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        connection.silent = False
        answer = await self._answer(head)
        if answer.compressible and _takes_gzip(head):
            answer = await asyncio.to_thread(answer.compressed)
        writer.write(answer.encode())
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


def _takes_gzip(head: bytes) -> bool:
    """Whether the client accepts an answer that is compressed by gzip (RFC 9110, 12.5.3)."""
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
    accepted = b",".join(value for name, _, value in lines if name.strip() == b"accept-encoding")
    found = (item.partition(b";") for item in accepted.split(b","))
    return any(name.strip() == b"gzip" and weight.replace(b" ", b"") not in NOT for name, _, weight in found)


def _host(writer: asyncio.StreamWriter) -> str:
    """The other side's address; empty on a Unix socket, and where it has left already."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _abort(transport: asyncio.WriteTransport) -> None:
    """End a connection at once, in whatever state it is."""
    # A transport that was closed while it had something to send, and has sent it, has no loop any more (CPython 3.11).
    with suppress(AttributeError):
        transport.abort()
