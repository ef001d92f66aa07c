"""No Route has a server see other requests than Envoy sent: clients of every namespace share its connections."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socket

import pytest

from agent.ir.http import BackendPort
from agent.model.meta import ObjectMeta
from agent.model.routes import FilteredBackendRef, HTTPRoute, HTTPRouteRule, HTTPRouteSpec
from support.waypoint.client import exchange
from support.waypoint.fixtures import SERVERS, WaypointNode, waypoint_node
from support.waypoint.rules import any_path, changes, prefix, rule, to
from support.waypoint.translated import PARENT, translated

pytestmark = pytest.mark.node

ROUNDS = 500
SHARED = BackendPort("app", "shared", 80)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n"
# By the path of the rule that sets a header: the header, and a body that is a request when the header is believed.
ATTACKS = {
    "/length": ("Content-Length", "0", SMUGGLED),
    "/chunked": ("Transfer-Encoding", "chunked", b"0\r\n\r\n" + SMUGGLED),
}


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


class Server:
    """A server of HTTP/1.1 that believes its request's headers, and answers a smuggled request late: when another
    request has come on its connection.
    """

    def __init__(self, listening: socket) -> None:
        self.smuggled = 0
        self._listening = listening
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket) -> None:
        # Envoy may end the connection at any time.
        with suppress(ConnectionError), connection, connection.makefile("rwb") as stream:
            while line := stream.readline():
                headers = http.client.parse_headers(stream)
                if line.startswith(b"GET /smuggled "):
                    self.smuggled += 1
                    stream.peek(1)
                    status = "200 Smuggled"
                else:
                    self._read_body(stream, headers)
                    status = "503 Plain"
                stream.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                stream.flush()

    @staticmethod
    def _read_body(stream, headers) -> None:
        """By Transfer-Encoding before Content-Length (RFC 9112, 6.3)."""
        if headers.get("Transfer-Encoding", "").lower() != "chunked":
            stream.read(int(headers.get("Content-Length", 0)))
            return
        while size := int(stream.readline(), 16):
            stream.read(size + 2)
        stream.readline()


@contextmanager
def shared_server(node: WaypointNode) -> Iterator[Server]:
    """A server behind `SHARED`."""
    with node.own_socket() as listening:
        listening.bind((SERVERS, 0))
        listening.settimeout(None)
        listening.listen()
        node.servers[SHARED.service] = [listening.getsockname()[1]]
        yield Server(listening)


def route_of_an_attacker() -> HTTPRoute:
    backends = (FilteredBackendRef(SHARED.service, port=80),)
    attacks = [
        HTTPRouteRule(matches=(prefix(path),), filters=(changes("request", set={name: value}),), backend_refs=backends)
        for path, (name, value, _) in ATTACKS.items()
    ]
    plain = HTTPRouteRule(backend_refs=backends)
    return HTTPRoute(ObjectMeta("attack", "app"), HTTPRouteSpec((PARENT,), rules=(*attacks, plain)))


def test_no_header_filter_gives_a_client_the_answer_to_another_s_request(node: WaypointNode) -> None:
    foreign = dict.fromkeys(ATTACKS, 0)
    with shared_server(node) as server:
        attacked = node.serve(*translated(route_of_an_attacker(), services=(SHARED.service,)).rules)
        victims = node.serve(rule(any_path(), to(SHARED)))
        with node.connection(victims) as victim:
            for path, (_, _, body) in ATTACKS.items():
                request = f"POST {path} HTTP/1.1\r\nHost: app\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                for _ in range(ROUNDS):
                    assert node.raw(attacked, request, until=b"\r\n\r\n").startswith(b"HTTP/1.1 ")
                    foreign[path] += exchange(victim).status != 503
    print(f"foreign answers of {ROUNDS} each: {foreign}; smuggled requests: {server.smuggled}")
    assert (foreign, server.smuggled) == (dict.fromkeys(ATTACKS, 0), 0)
