"""Servers that record requests or bytes, and answer as a test or a script defines."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from agent.ir.http import BackendPort
from support.waypoint.ads import PATIENCE, WAYPOINT
from support.waypoint.fixtures import WaypointNode
from support.waypoint.listeners import SERVERS

DROP, SILENCE = 0, -1


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Recorder(ThreadingHTTPServer):
    """Answers with `script`'s statuses one after the other, then with 200.

    `DROP` is to hang up without an answer, `SILENCE` to say nothing until the client hangs up. Every answer has
    `headers`.
    """

    daemon_threads = True

    def __init__(self, node: WaypointNode, backend: BackendPort) -> None:
        super().__init__((SERVERS, 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = node.own_socket()
        self.socket.settimeout(None)
        self.socket.bind((SERVERS, 0))
        self.server_activate()
        self.backend, self.requests, self.script = backend, list[Recorded](), list[int]()
        self.headers = dict[str, str]()
        node.servers[backend.service] = [self.socket.getsockname()[1]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def parse_request(self) -> bool:
        """Every method has the same answer."""
        parsed = super().parse_request()
        if parsed:
            setattr(self, f"do_{self.command}", self._answer)
        return parsed

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(Recorded(self.command, self.path, tuple(self.headers.items()), body))
        status = self.server.script.pop(0) if self.server.script else 200
        if status in (DROP, SILENCE):
            self.close_connection = status == DROP or not self.rfile.read(1)
            return
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """No log."""


@contextmanager
def recorder(node: WaypointNode, name: str = "recorder") -> Iterator[Recorder]:
    """A recording backend of that name in the node's namespace."""
    with Recorder(node, BackendPort("app", name, 80)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Wire:
    """One end of a connection, byte by byte; `seen` is all that came."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.socket, self.seen, self._read = connection, b"", 0

    def until(self, mark: bytes) -> bytes:
        """What comes up to a mark, and the mark; raises EOFError when the other end hangs up before."""
        while (found := self.seen.find(mark, self._read)) < 0:
            if not self._receive():
                raise EOFError(f"{mark!r} never came, but {self.seen[self._read :]!r}")
        return self._take(found + len(mark))

    def rest(self) -> bytes:
        """What comes until the other end hangs up."""
        while self._receive():
            pass
        return self._take(len(self.seen))

    def send(self, data: bytes) -> None:
        """Send."""
        self.socket.sendall(data)

    def _receive(self) -> bytes:
        piece = self.socket.recv(65536)
        self.seen += piece
        return piece

    def _take(self, end: int) -> bytes:
        begin, self._read = self._read, end
        return self.seen[begin:end]


@contextmanager
def client(node: WaypointNode, port: int) -> Iterator[Wire]:
    """A connection to a listener of the waypoint."""
    with node.dial(WAYPOINT, port) as connection:
        yield Wire(connection)


@contextmanager
def script(node: WaypointNode, play: Callable[[Wire], None]) -> Iterator[tuple[BackendPort, list[Wire]]]:
    """A backend that plays a script on every connection, which it leaves open; and the connections.

    What a script raises is raised here in the end.
    """
    wires, plays = list[Wire](), list[Future[None]]()
    with node.own_socket() as listening, ThreadPoolExecutor() as pool:
        listening.settimeout(None)
        listening.bind((SERVERS, 0))
        listening.listen()

        def serve() -> None:
            with suppress(OSError):  # the listening socket was shut down
                while True:
                    wires.append(Wire(listening.accept()[0]))
                    plays.append(pool.submit(play, wires[-1]))

        accepting = pool.submit(serve)
        number = listening.getsockname()[1]
        backend = BackendPort("app", f"script{number}", 80)
        node.servers[backend.service] = [number]
        try:
            yield backend, wires
            for played in plays:
                played.result()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.result()
            for wire in wires:
                wire.socket.close()
