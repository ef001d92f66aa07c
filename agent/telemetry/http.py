"""A small HTTP server for GET: metrics and health on TCP, the agent's state on a Unix socket."""

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

# Bytes of the request line and the headers.
REQUEST_LIMIT = 8192
# For a request, and for each part of the response.
REQUEST_SECONDS = 5.0
PART_BYTES = 2**18
TEXT = "text/plain; version=0.0.4; charset=utf-8"
Query = Mapping[str, str]
# The fastest level: a tenth of the size of the metrics, in a fifth of the time that rendering them takes.
GZIP_LEVEL = 1
ZERO_WEIGHTS = (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
# Limits on concurrent connections: in total, so that clients cannot use up the agent's file descriptors; and for one
# address, so that it cannot displace others.
MAX_CONNECTIONS, MAX_OF_ADDRESS = 64, 16


@dataclass(frozen=True, slots=True)
class Response:
    """A response."""

    body: bytes
    content_type: str
    status: int = 200
    compressible: bool = False
    encoding: str = ""

    @classmethod
    def text(cls, body: str, status: int = 200) -> "Response":
        """Plain text in the format that Prometheus reads."""
        return cls(body.encode(), TEXT, status)

    @classmethod
    def metrics(cls, body: bytes) -> "Response":
        """The Prometheus text format. It can be megabytes, so it is compressed for clients that accept gzip."""
        return cls(body, TEXT, compressible=True)

    def compressed(self) -> "Response":
        """The response compressed by gzip. May run in a thread."""
        return replace(self, body=gzip.compress(self.body, GZIP_LEVEL), encoding="gzip")

    @classmethod
    def json(cls, value: Any) -> "Response":
        """A JSON document."""
        return cls(msgspec.json.encode(value), "application/json")

    def encode(self) -> bytes:
        """The bytes of the response. The server closes the connection after it."""
        encoding = f"Content-Encoding: {self.encoding}\r\n" if self.encoding else ""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\nContent-Type: {self.content_type}\r\n"
            f"{encoding}Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + self.body


# By path. One with a large response is a coroutine, so that other tasks run meanwhile.
Handler = Callable[[Query], Response | Awaitable[Response]]


class ListenError(Exception):
    """The server cannot listen on an address; the message names it."""


@contextmanager
def listening_at(address: str) -> Iterator[None]:
    """Turn errors of listening into a `ListenError` that names the address."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ListenError(f"cannot listen at {address}: {error}") from error


class BadRequestError(Exception):
    """The request is invalid; the message is the reason."""


@dataclass(slots=True, eq=False)
class _Connection:
    """An open connection. `host` is empty on a Unix socket. `silent`: the request has not arrived yet."""

    host: str
    transport: asyncio.WriteTransport
    silent: bool = True


class HttpServer:
    """Answers GET by path and query, one request for each connection. A slow or broken client affects only itself: when
    the limit is reached, the server closes the oldest connection of the address that has most of them.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._servers: list[asyncio.Server] = []
        self._open: list[_Connection] = []

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def start_tcp(self, host: str, port: int) -> int:
        """Listen on an address. Returns the port; 0 chooses a free one. Raises `OSError`."""
        server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_LIMIT)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner can use. A socket left by a dead agent is replaced."""
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        # The mode must be set by bind itself: between bind and a later chmod, others could connect.
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
        """Stop listening."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(_host(writer), writer.transport)
        if not self._close_excess(connection.host):
            _abort(writer.transport)
            return
        self._open.append(connection)
        try:
            await self._exchange(reader, writer, connection)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            # `close` would wait for ever for a client that does not read. This also runs when the loop ends.
            _abort(writer.transport)
            if connection in self._open:
                self._open.remove(connection)

    def _close_excess(self, host: str) -> bool:
        """Whether a connection from this address is accepted. When the limit is reached, another one is closed: that of
        the address with most connections, a silent one first, and of these the oldest.
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

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        connection.silent = False
        answer = await self._answer(head)
        if answer.compressible and _takes_gzip(head):
            answer = await asyncio.to_thread(answer.compressed)
        await _send(writer, answer.encode())

    async def _answer(self, head: bytes) -> Response:
        method, _, rest = head.decode("latin-1").partition("\r\n")[0].partition(" ")
        path, _, query = rest.partition(" ")[0].partition("?")
        if method != "GET":
            return Response.text("only GET\n", 405)
        handler = self._handlers.get(path)
        if handler is None:
            return Response.text("not found\n", 404)
        try:
            answer = handler(dict(parse_qsl(query)))
            return answer if isinstance(answer, Response) else await answer
        except BadRequestError as error:
            return Response.text(f"{error}\n", 400)
        except Exception:
            log.exception("request failed", extra={"path": path})
            return Response.text("failed\n", 500)


async def _send(writer: asyncio.StreamWriter, response: bytes) -> None:
    """Send a response, of tens of megabytes too, as long as the client takes each part in time."""
    for start in range(0, len(response), PART_BYTES):
        async with asyncio.timeout(REQUEST_SECONDS):
            writer.write(response[start : start + PART_BYTES])
            await writer.drain()
    async with asyncio.timeout(REQUEST_SECONDS):
        writer.close()
        await writer.wait_closed()


def _takes_gzip(head: bytes) -> bool:
    """Whether the client accepts gzip (RFC 9110, 12.5.3)."""
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
    accepted = b",".join(value for name, _, value in lines if name.strip() == b"accept-encoding")
    found = (item.partition(b";") for item in accepted.split(b","))
    return any(name.strip() == b"gzip" and weight.replace(b" ", b"") not in ZERO_WEIGHTS for name, _, weight in found)


def _host(writer: asyncio.StreamWriter) -> str:
    """The peer's address; empty on a Unix socket, and when the peer is already gone."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _abort(transport: asyncio.WriteTransport) -> None:
    """Close a connection at once, in any state."""
    # In CPython 3.11 a transport that was closed with unsent data, and has sent it since, has no loop any more.
    with suppress(AttributeError):
        transport.abort()
