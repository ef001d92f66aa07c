"""What goes on for long passes the waypoint as it comes: events, WebSocket frames, gRPC messages both ways."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from threading import Semaphore

import pytest

from agent.ir.http import BackendPort
from agent.model.routes import GRPCRouteMatch
from support.waypoint.ads import WAYPOINT
from support.waypoint.fixtures import SERVERS, WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import Wire, client, script
from support.waypoint.rules import any_path, rule, to

pytestmark = pytest.mark.node
HEAD = b"\r\n\r\n"
MESSAGES = 100
GRPC_PORT = 9050
# Envoy ends a request after 15 seconds, and an idle stream after 5 minutes, unless told otherwise. By default the first
# is waited for; WEFT_TEST_SCALE=1 (`make test-long`) waits for both.
SECONDS = max(16, int(330 * float(os.environ.get("WEFT_TEST_SCALE", "0"))))
# Each message is answered before the next is sent, so that nobody in between may wait for more.
GRPC_SERVER = """
import asyncio, sys
from grpc import aio, method_handlers_generic_handler, stream_stream_rpc_method_handler, unary_stream_rpc_method_handler
from grpc import StatusCode, stream_unary_rpc_method_handler

async def echo(messages, context):
    await context.send_initial_metadata((("x-first", "1"),))
    async for message in messages:
        yield b"answer to " + message
    context.set_trailing_metadata((("x-last-bin", b"\\x00\\xff"),))

async def count(messages, context):
    return b"%d" % len([message async for message in messages])

async def repeat(message, context):
    for number in range(int(message)):
        yield str(number).encode()
    await context.abort(StatusCode.DATA_LOSS, "all said")

async def main(address):
    server = aio.server()
    methods = {
        "Echo": stream_stream_rpc_method_handler(echo),
        "Count": stream_unary_rpc_method_handler(count),
        "Repeat": unary_stream_rpc_method_handler(repeat),
    }
    server.add_generic_rpc_handlers([method_handlers_generic_handler("a.Streams", methods)])
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()

asyncio.run(main(sys.argv[1]))
"""
GRPC_CLIENT = """
import asyncio, json, sys, grpc
from grpc import aio

async def main(target, times):
    found = {}
    async with aio.insecure_channel(target) as channel:
        call = channel.stream_stream("/a.Streams/Echo")(timeout=60)
        for number in range(times):
            await call.write(b"%d" % number)
            assert await call.read() == b"answer to %d" % number
        await call.done_writing()
        assert await call.read() is aio.EOF
        metadata = *await call.initial_metadata(), *await call.trailing_metadata()
        found["metadata"] = sorted(f"{name}={value}" for name, value in metadata if name.startswith("x-"))
        async def messages():
            for number in range(times):
                yield b"message"
        found["counted"] = (await channel.stream_unary("/a.Streams/Count")(messages(), timeout=60)).decode()
        call, found["repeated"] = channel.unary_stream("/a.Streams/Repeat")(b"%d" % times, timeout=60), 0
        try:
            async for message in call:
                found["repeated"] += message == b"%d" % found["repeated"]
        except grpc.RpcError as error:
            found["ended"] = f"{error.code().name}: {error.details()}"
    print(json.dumps(found))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def test_an_event_arrives_before_the_next_is_sent(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        server.until(HEAD)
        server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(MESSAGES):
            heard.acquire()
            server.send(b"f\r\ndata: %07d\n\n\r\n" % number)

    heard = Semaphore(1)
    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(b"GET /events HTTP/1.1\r\nHost: app\r\nAccept: text/event-stream\r\n\r\n")
        assert b"Content-Type: text/event-stream\r\n" in asking.until(HEAD)
        for number in range(MESSAGES):
            assert asking.until(b"\n\n\r\n").endswith(b"data: %07d\n\n\r\n" % number)
            heard.release()


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_websocket_s_handshake_frames_and_end_pass(node: WaypointNode, first: str) -> None:
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\nSec-WebSocket-Protocol: chat\r\n"
    )
    agreed = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pP\r\nSec-WebSocket-Protocol: chat\r\n"
    )
    ended = []

    def play(server: Wire) -> None:
        assert upgrade in server.until(HEAD)
        server.send(b"HTTP/1.1 101 Switching Protocols\r\n" + agreed + b"\r\n\x82\x05first")
        for number in range(MESSAGES):
            assert server.until(b"?") == b"\x82\x84\0\0\0\0%03d?" % number
            server.send(b"\x82\x04%03d!" % number)
        if first == "server":
            server.socket.shutdown(socket.SHUT_RDWR)
        ended.append(server.rest())

    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(b"GET /chat HTTP/1.1\r\nHost: app\r\n" + upgrade + b"\r\n")
        assert agreed in asking.until(HEAD)
        assert asking.until(b"first") == b"\x82\x05first"
        for number in range(MESSAGES):
            asking.send(b"\x82\x84\0\0\0\0%03d?" % number)
            assert asking.until(b"!") == b"\x82\x04%03d!" % number
        if first == "client":
            asking.socket.shutdown(socket.SHUT_RDWR)
        assert asking.rest() == b""
        wait_for("the server sees the end", lambda: ended == [b""])


OFFER = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def answered_without_upgrade(node: WaypointNode, status: int) -> tuple[bytes, bytes]:
    """Head, in lower case, and body of what a client gets that offers WebSocket to a server that does not take it."""

    def play(server: Wire) -> None:
        server.until(HEAD)
        server.send(b"HTTP/1.1 %d Why\r\nX-Own: 1\r\nContent-Length: 4\r\n\r\nbody" % status)

    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(OFFER)
        head, _, body = asking.rest().partition(HEAD)
    return head.lower() + b"\r\n", body


@pytest.mark.parametrize("status", [200, 206, 302])
def test_an_answer_to_an_offer_of_websocket_that_is_neither_101_nor_an_error_has_no_body(
    node: WaypointNode, status: int
) -> None:
    head, body = answered_without_upgrade(node, status)
    assert head.startswith(b"http/1.1 %d " % status)
    assert (body, b"x-own: 1\r\n" in head, b"content-length: 0\r\n" in head) == (b"", True, True)
    assert b"connection: close\r\n" in head


@pytest.mark.parametrize("status", [400, 401, 426, 500])
def test_an_error_in_answer_to_an_offer_of_websocket_passes_and_ends_the_connection(
    node: WaypointNode, status: int
) -> None:
    head, body = answered_without_upgrade(node, status)
    assert head.startswith(b"http/1.1 %d why\r\n" % status)
    assert (body, b"x-own: 1\r\n" in head, b"content-length: 4\r\n" in head) == (b"body", True, True)
    assert b"connection: close\r\n" in head


def test_grpc_streams_of_all_kinds_with_metadata_and_status(node: WaypointNode) -> None:
    backend = BackendPort("app", "streams", 80, "h2c")
    node.servers[backend.service] = [GRPC_PORT]
    node.spawn(sys.executable, "-c", GRPC_SERVER, f"{SERVERS}:{GRPC_PORT}", pod="streams")
    wait_for("the server listens", lambda: node.answers(SERVERS, GRPC_PORT))
    port = node.serve(rule(GRPCRouteMatch(), to(backend)), grpc=True)
    found = json.loads(node.run(sys.executable, "-c", GRPC_CLIENT, f"{WAYPOINT}:{port}", str(MESSAGES)))
    assert found == {
        "metadata": ["x-first=1", "x-last-bin=b'\\x00\\xff'"],
        "counted": str(MESSAGES),
        "repeated": MESSAGES,
        "ended": "DATA_LOSS: all said",
    }


def test_an_answer_may_take_longer_than_envoy_s_own_time_outs(node: WaypointNode) -> None:
    port = node.serve(rule(any_path()))
    request = b"GET /?wait=%d HTTP/1.1\r\nHost: app\r\n\r\n" % SECONDS
    answer = node.raw(port, request, until=b"}", patience=SECONDS + 10)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
