"""A server that notes every request and answers as it is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from waypoint_fixtures import SERVERS, WaypointNode

from agent.translate.ir import BackendPort

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

    `DROP` is to hang up without an answer, `SILENCE` to say nothing until the client hangs up.
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
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


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
