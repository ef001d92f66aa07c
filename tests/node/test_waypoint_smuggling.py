"""Requests of HTTP/1.1 whose end is ambiguous are refused; what Envoy tolerates reaches the server in a valid form."""

import re
from collections.abc import Iterator

import pytest

from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.recorder import Wire, client, script
from support.waypoint.rules import V1, any_path, exact, rule, to

pytestmark = pytest.mark.node
HEAD = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: app\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n"
REFUSED = {
    "length and chunks": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not the last coding": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    "a length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a NUL": POST + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
}
# The head is valid, so that Envoy may send it on before it reads the body.
BAD_BODIES = {
    "a line feed in a chunk's extension": b"0;a\nb\r\n\r\n",
    "a chunk's size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
}
# Each with a line of what reaches the server.
NORMALISED = {
    "lines end with a bare line feed": (b"GET /x HTTP/1.1\nHost: app\nX-A: 1\n\n", b"X-A: 1\r\n"),
    "a folded line": (b"GET /x HTTP/1.1\r\nHost: app\r\nX-A: 1\r\n 2\r\n\r\n", b"X-A: 1 2\r\n"),
    "a bare carriage return": (b"GET /x HTTP/1.1\r\nHost: app\r\nX-A: 1\r2\r\n\r\n", b"X-A: 12\r\n"),
    "two Host": (b"GET /x HTTP/1.1\r\nHost: app\r\nHost: other\r\n\r\n", b"Host: app,other\r\n"),
    "no version": (b"GET /x\r\n\r\n", b"host: web.shop\r\n"),
}
UPGRADE = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def answering(server: Wire) -> None:
    """Answer every request's head, until nothing more comes."""
    while True:
        try:
            server.until(HEAD)
        except (EOFError, OSError):
            return
        server.send(OK)


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"^HTTP/1\.[01] (\d+)", answer, re.MULTILINE)


def exchanged(node: WaypointNode, request: bytes, **options: str) -> tuple[bytes, list[bytes]]:
    """All that a client hears on a connection that Envoy closes, and what reached the server on each connection."""
    with script(node, answering) as (backend, servers):
        port = node.serve(rule(any_path(), to(backend)), **options)
        with client(node, port) as asking:
            asking.send(request)
            answer = asking.rest()
        # Whatever would come of the smuggled request comes before the answer to this one.
        assert node.raw(port, POST + b"Content-Length: 0\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        return answer, [server.seen for server in servers]


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_of_it_reaches_the_server(node: WaypointNode, what: str) -> None:
    answer, seen = exchanged(node, REFUSED[what] + SMUGGLED)
    assert statuses(answer) in ([b"400"], [b"501"])
    assert [request.partition(b"\r\n")[0] for request in seen] == [b"POST / HTTP/1.1"], "the last one only"
    assert b"ontent-Length: 0\r\n" in seen[0]


@pytest.mark.parametrize("what", BAD_BODIES)
def test_no_body_reaches_the_server(node: WaypointNode, what: str) -> None:
    answer, seen = exchanged(node, POST + CHUNKED + b"\r\n" + BAD_BODIES[what] + SMUGGLED)
    assert statuses(answer) == [b"400"]
    assert not any(b"smuggled" in request or b"hello" in request for request in seen)


@pytest.mark.parametrize("what", NORMALISED)
def test_what_envoy_tolerates_reaches_the_server_in_a_valid_form(node: WaypointNode, what: str) -> None:
    request, written = NORMALISED[what]
    with script(node, answering) as (backend, servers):
        name = f"shop/web:{80 + list(NORMALISED).index(what)}"
        with client(node, node.serve(rule(any_path(), to(backend)), name=name)) as asking:
            asking.send(request)
            assert asking.until(b"hi").startswith(b"HTTP/1.")
        (server,) = servers
    assert server.seen.startswith(b"GET /x HTTP/1.1\r\n")
    assert written in server.seen
    lines = server.seen.removesuffix(HEAD).split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or line.startswith((b" ", b"\t")) for line in lines)


def test_what_follows_an_upgrade_that_the_server_does_not_take_is_no_request(node: WaypointNode) -> None:
    answer, seen = exchanged(node, UPGRADE % b"websocket" + SMUGGLED)
    assert statuses(answer) == [b"200"], "and the connection is closed"
    assert not any(b"smuggled" in request for request in seen)


def test_an_upgrade_to_websocket_or_something_else_is_refused(node: WaypointNode) -> None:
    with script(node, answering) as (backend, servers):
        with client(node, node.serve(rule(any_path(), to(backend)))) as asking:
            asking.send(UPGRADE % b"websocket, h2c")
            assert asking.until(HEAD).startswith(b"HTTP/1.1 403 ")
        assert servers == []


def test_an_offer_of_http2_begins_no_http2(node: WaypointNode) -> None:
    """What a client sends after it as if it was taken is a request of HTTP/1.1, and none that is served."""
    with client(node, node.serve(rule(exact("/"), to(V1)))) as asking:
        asking.send(UPGRADE % b"h2c")
        assert asking.until(HEAD).startswith(b"HTTP/1.1 200 ")
        asking.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert statuses(asking.rest()) in ([b"400"], [b"404"], [b"505"])
