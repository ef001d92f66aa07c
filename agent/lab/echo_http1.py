"""The echo server's HTTP/1.1: answers in order, keeps the case and order of headers, upgrades to a byte echo."""

import asyncio
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from agent.lab.echo_answer import Controls, answer, facts_of


@dataclass(slots=True)
class _Pending:
    """A response that waits for earlier ones. Empty content closes the connection."""

    content: bytes
    last: bool
    due: bool


class HTTP1(asyncio.Protocol):
    """One connection. Callbacks named `on_` are httptools'."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to parse."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._facts = facts_of(transport, "http/1.1")
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[_Pending] = deque()
        self._upgraded = False

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP gets a 400."""
        if self._upgraded:
            self._transport.write(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            self._transport.write(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._path, self._received = b"", 0
        self._headers: list[tuple[str, str]] = []

    def on_url(self, url: bytes) -> None:
        """The path with its query, as sent; it can come in pieces."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, as sent."""
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        """Bodies are counted only."""
        self._received += len(body)

    def on_message_complete(self) -> None:
        """Answer, now or later."""
        path = self._path.decode("latin-1")
        controls = Controls.of(path)
        keep = self._parser.should_keep_alive()
        content = b"" if controls.close else self._response(path, controls, keep)
        pending = _Pending(content, controls.close or not keep, not controls.wait)
        self._pending.append(pending)
        if controls.wait:
            asyncio.get_running_loop().call_later(controls.wait, self._fall_due, pending)
        else:
            self._flush()

    def _response(self, path: str, controls: Controls, keep: bool) -> bytes:
        method = self._parser.get_method().decode()
        if self._parser.should_upgrade() and method != "CONNECT":
            upgrade = next((value for name, value in self._headers if name.lower() == "upgrade"), "echo")
            return f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode()
        host = next((value for name, value in self._headers if name.lower() == "host"), "")
        body = answer(
            self._facts, host=host, method=method, path=path, headers=self._headers,
            received=self._received, version=self._parser.get_http_version(),
        )  # fmt: skip
        body += b"\n" + b"x" * controls.body
        known = controls.status in HTTPStatus._value2member_map_
        phrase = HTTPStatus(controls.status).phrase if known else "Unknown"
        head = (
            f"HTTP/1.1 {controls.status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        head += "\r\n" if keep else "Connection: close\r\n\r\n"
        return head.encode() + (b"" if method == "HEAD" else body)

    def _fall_due(self, pending: _Pending) -> None:
        pending.due = True
        self._flush()

    def _flush(self) -> None:
        while self._pending and self._pending[0].due and not self._transport.is_closing():
            pending = self._pending.popleft()
            self._transport.write(pending.content)
            if pending.last:
                self._transport.close()
