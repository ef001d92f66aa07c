"""Envoy reports requests to the agent where it is asked to; what it cannot report costs no request anything."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agent.ir.access_log import NO_MATCH, AccessLogEntry
from agent.ir.http import Pool, Session
from agent.model.routes import GRPCRouteMatch
from agent.waypoint.dropped_log_entries import DroppedLogEntries
from support.waypoint.ads import AdsThread
from support.waypoint.caller import call
from support.waypoint.client import exchange
from support.waypoint.fixtures import CLIENT, SERVERS, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import NO_ENDPOINTS, V1, V1_H2C, V2, any_path, exact, rule, to

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def logged(node: WaypointNode, path: str) -> AccessLogEntry:
    """What Envoy told of the request with this path."""
    wait_for(f"{path} is logged", lambda: any(item.path == path for item in node.ads.exchanges))
    return next(item for item in node.ads.exchanges if item.path == path)


def test_a_request_is_told_with_its_connection_route_and_backend(node):
    port = node.serve(rule(any_path(), to(V1)))
    headers = [("traceparent", "00-1-2-01"), ("X-Request-Id", "7"), ("User-Agent", "me"), ("Content-Length", "0")]
    node.ask(port, "/told?x=1", method="PROPFIND", headers=headers)
    found = logged(node, "/told?x=1")
    assert (found.client, found.port) == (CLIENT, port)
    assert (found.route, found.cluster, found.upstream) == ("app/route/0/0", V1.cluster, f"{SERVERS}:9001")
    assert (found.method, found.authority, found.protocol) == ("PROPFIND", "app", "HTTP/1.1")
    assert (found.traceparent, found.request_id, found.user_agent) == ("00-1-2-01", "7", "me")
    assert (found.code, found.flags, found.attempts, found.is_grpc) == (200, "-", 1, False)
    assert 0 < found.upstream_seconds <= found.seconds


def test_sizes_are_of_headers_and_bodies(node):
    port = node.serve(rule(any_path(), to(V1)))
    node.ask(port, "/large?body=100000", headers=[("X-Large", "x" * 5000)])
    found = logged(node, "/large?body=100000")
    assert 5000 < found.received < 6000
    assert 100_000 < found.sent < 107_000


@pytest.mark.parametrize(
    ("path", "code", "flags", "cluster"),
    [
        ("/nobody", 503, "UH", NO_ENDPOINTS.cluster),
        ("/invalid", 500, "-", ""),
        ("/partly", 500, "FI", ""),
        ("/gone", 503, "UC", V1.cluster),
    ],
)
def test_how_a_request_failed_is_told(node, path, code, flags, cluster):
    rules = [
        rule(exact("/nobody"), to(NO_ENDPOINTS)),
        rule(exact("/invalid"), to(None)),
        rule(exact("/partly"), to(None, V1, weights=(1_000_000, 0))),
        rule(exact("/gone"), to(V1)),
    ]
    query = f"{path}?close=1"
    assert node.ask(node.serve(*rules), query).status == code
    found = logged(node, query)
    assert (found.code, found.flags, found.cluster) == (code, flags, cluster)


def test_a_request_without_a_rule_and_a_client_that_leaves_are_told(node):
    port = node.serve(rule(exact("/only")))
    node.ask(port, "/other")
    assert logged(node, "/other").route == NO_MATCH
    with node.dial("127.0.0.2", port) as connection:
        # A client that leaves with its first bytes is none yet: its connection ends before there is a request to log.
        connection.sendall(b"GET /other HTTP/1.1\r\nHost: app\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 404")
        connection.sendall(b"POST /only HTTP/1.1\r\nHost: app\r\nContent-Length: 9\r\n\r\nhalf")
    wait_for("it is logged", lambda: any(item.flags == "DC" for item in node.ads.exchanges))


def test_grpc_statuses_are_told(node):
    assert call(node, [rule(GRPCRouteMatch(), to(V1_H2C))], "/told.Echo/Call", "/told.Echo/Other") == ["v1", "v1"]
    found = logged(node, "/told.Echo/Call")
    assert (found.is_grpc, found.grpc_status, found.code, found.protocol) == (True, "0", 200, "HTTP/2")


def test_whose_endpoint_of_a_pool_answered_is_told(node):
    session = Session("s", pool=Pool((V1, V2)))
    port = node.serve(rule(any_path(), to(V1, V2, weights=(0, 1)), session=session))
    node.ask(port, "/pool")
    assert logged(node, "/pool").members == (V2.cluster,)


def test_bytes_that_are_no_text_do_not_end_the_stream(node):
    port = node.serve(rule(any_path(), to(V1)))
    odd = b"GET /odd HTTP/1.1\r\nHost: app\r\nUser-Agent: \xff\xfe\r\ntraceparent: \xc3\r\nConnection: close\r\n\r\n"
    assert node.raw(port, odd).startswith(b"HTTP/1.1 200")
    assert logged(node, "/odd").code == 200
    node.ask(port, "/even")
    assert logged(node, "/even").code == 200


def test_nothing_is_added_to_a_logged_request(node):
    answer = node.ask(node.serve(rule(any_path(), to(V1))))
    assert [name.lower() for name, _ in answer.seen["headers"]] == ["host", "x-forwarded-proto"]


def dropped(node: WaypointNode) -> int:
    counter = DroppedLogEntries(node.folder)
    asyncio.run(counter.poll())
    return counter.total


def test_without_an_agent_requests_go_on_and_what_is_not_told_is_counted(node):
    """The stream breaks while requests are under way, and stays broken for more than Envoy keeps."""
    port = node.serve(rule(any_path(), to(V1)))
    with node.connection(port) as connection:
        assert exchange(connection).status == 200
        node.ads.stop()
        assert {exchange(connection, f"/lost/{'x' * 200}").status for _ in range(300)} == {200}
    node.ads = AdsThread(node.folder / "xds.sock")
    wait_for("Envoy is back", lambda: bool(node.ads.server.envoys))
    port = node.serve(rule(any_path(), to(V1)))
    node.ask(port, "/back")
    logged(node, "/back")


def test_an_agent_that_does_not_read_slows_no_request(node):
    """Its loop stands still; Envoy's buffer fills, and what does not fit is dropped."""
    port = node.serve(rule(any_path(), to(V1)))
    before, released = dropped(node), threading.Event()
    node.ads._loop.call_soon_threadsafe(released.wait)
    try:
        with node.connection(port) as connection:
            large = f"/{'x' * 60_000}"
            assert {exchange(connection, large).status for _ in range(1000)} == {200}
        wait_for("they are counted", lambda: dropped(node) > before)
    finally:
        released.set()

    def is_read_again() -> bool:
        node.ask(port, "/read-again")
        return any(item.path == "/read-again" for item in node.ads.exchanges)

    wait_for("it is read again", is_read_again)
