"""Trailers through the waypoint: which pass, and which a server could take for headers that no client may send it."""

from collections.abc import Iterator

import pytest

from agent.model.filters import Filter
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.recorder import Wire, client, script
from support.waypoint.rules import V1_H2C, any_path, changes, rule, to

pytestmark = pytest.mark.node
FRAMING = b"".join(
    name + b": 1\r\n"
    for name in (
        *(b"Content-Length", b"Transfer-Encoding", b"Trailer", b"TE", b"Expect", b"Connection", b"Proxy-Connection"),
        *(b"Keep-Alive", b"Upgrade", b"HTTP2-Settings", b"Host"),
    )
)
POST = b"POST / HTTP/1.1\r\nHost: app\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
END = b"X-Last: 1\r\n\r\n"


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def passed_on(node: WaypointNode, trailers: bytes, *filters: Filter) -> tuple[bytes, bytes]:
    """What of these trailers reaches the server, and then the client. `END` is the end of both."""

    def play(server: Wire) -> None:
        server.until(END.lower())
        server.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + trailers + END)

    with script(node, play) as (backend, servers):
        port = node.serve(rule(any_path(), to(backend), *filters))
        with client(node, port) as asking:
            asking.send(POST + CHUNKED + trailers + END)
            answer = asking.until(END.lower())
    (server,) = servers
    return server.seen.rpartition(b"\r\n0\r\n")[2], answer.rpartition(b"\r\n0\r\n")[2]


def test_trailers_that_frame_or_route_a_message_are_taken_away(node: WaypointNode) -> None:
    passed = b"x-a: 1\r\nauthorization: 1\r\nx-te: 1\r\n" + END.lower()
    trailers = b"X-A: 1\r\n" + FRAMING + b"Authorization: 1\r\nX-TE: 1\r\n"
    assert passed_on(node, trailers) == (passed, passed)


def test_all_trailers_may_be_taken_away(node: WaypointNode) -> None:
    end = b"2\r\nhi\r\n0\r\n\r\n"

    def play(server: Wire) -> None:
        server.until(end)
        server.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + FRAMING + b"\r\n")

    with script(node, play) as (backend, _):
        port = node.serve(rule(any_path(), to(backend)))
        with client(node, port) as asking:
            asking.send(POST + CHUNKED + FRAMING + b"\r\n")
            asking.until(end)


def test_a_request_without_its_trailers_ends_for_a_server_of_http2_too(node: WaypointNode) -> None:
    port = node.serve(rule(any_path(), to(V1_H2C)))
    with client(node, port) as asking:
        asking.send(POST + CHUNKED + FRAMING + b"\r\n")
        assert asking.until(b'"received":2').startswith(b"HTTP/1.1 200 ")


def test_what_a_rule_removes_or_sets_comes_in_no_trailer(node: WaypointNode) -> None:
    filters = (
        changes("request", remove=["X-Gone"], set={"X-Set": "mine"}, add={"X-Added": "mine"}),
        changes("response", remove=["x-hidden"]),
    )
    seen, heard = passed_on(node, b"X-Gone: 1\r\nx-set: 1\r\nX-Added: 1\r\nX-Hidden: 1\r\n", *filters)
    assert seen == b"x-added: 1\r\nx-hidden: 1\r\n" + END.lower()
    assert heard == b"x-gone: 1\r\nx-set: 1\r\nx-added: 1\r\n" + END.lower()
