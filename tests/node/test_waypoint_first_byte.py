"""How long the waypoint waits for clients that say nothing, and how many streams it takes of one connection."""

import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.waypoint.fixtures import WAYPOINT, WaypointNode, waypoint_node
from support.waypoint.rules import V1, any_path, rule, to

pytestmark = pytest.mark.node

SECONDS = 1.0
HEAD = b"GET / HTTP/1.1\r\nHost: app\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
SETTINGS, MAX_CONCURRENT_STREAMS = 4, 3


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        made.first_byte = SECONDS
        yield made


@pytest.fixture(scope="module")
def port(node: WaypointNode) -> int:
    return node.serve(rule(any_path(), to(V1)))


def test_a_client_that_sends_nothing_is_closed(node: WaypointNode, port: int) -> None:
    assert node.raw(port, b"") == b""


@pytest.mark.parametrize("sent", [HEAD, b"G", HEAD[:30]])
def test_half_a_head_is_closed(node: WaypointNode, port: int, sent: bytes) -> None:
    answer = b""
    with suppress(ConnectionResetError):  # where it did not read the byte
        answer = node.raw(port, sent)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_head_in_pieces_and_a_late_body_are_served(node: WaypointNode, port: int) -> None:
    with node.dial(WAYPOINT, port) as client:
        for piece in (b"POST / HTTP/1.1\r\n", b"Host: app\r\n", b"Content-Length: 4\r\n\r\n"):
            client.sendall(piece)
        time.sleep(2 * SECONDS)
        client.sendall(b"late")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sizes", [(1, 100), (5000, 3000), (9000, 20_000)])
def test_a_long_first_line_may_come_in_pieces(node: WaypointNode, port: int, sizes: tuple[int, int]) -> None:
    with node.dial(WAYPOINT, port) as client:
        client.sendall(b"GET /")
        for size in sizes:
            time.sleep(SECONDS / 10)
            client.sendall(b"x" * size)
        client.sendall(b" HTTP/1.1\r\nHost: app\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_preface_of_http2_may_come_in_pieces(node: WaypointNode, port: int) -> None:
    with node.dial(WAYPOINT, port) as client:
        for piece in (PREFACE[:10], PREFACE[10:]):
            client.sendall(piece)
            time.sleep(SECONDS / 10)
        assert client.recv(65536)[3] == SETTINGS


def test_what_is_no_http_is_answered_as_without_a_look(node: WaypointNode, port: int) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
    assert node.raw(port, hello).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_kept_connection_may_be_silent_for_longer(node: WaypointNode, port: int) -> None:
    with node.dial(WAYPOINT, port) as client:
        for _ in range(2):
            client.sendall(HEAD + b"\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(2 * SECONDS)


def test_one_connection_may_have_so_many_streams(node: WaypointNode, port: int) -> None:
    with node.dial(WAYPOINT, port) as client:
        client.sendall(PREFACE)
        received = client.recv(65536)
    length, kind = int.from_bytes(received[:3], "big"), received[3]
    assert kind == SETTINGS
    settings = dict(struct.iter_unpack("!HI", received[9 : 9 + length]))
    assert settings[MAX_CONCURRENT_STREAMS] == 100
