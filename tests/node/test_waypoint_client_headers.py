"""Request headers that configure Envoy's router, or that name another client address, have no effect."""

from collections.abc import Iterator

import pytest

from support.waypoint.fixtures import CLIENT, WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import SILENCE, Recorder, recorder
from support.waypoint.rules import any_path, rule, to

pytestmark = pytest.mark.node
# The router obeys the x-envoy headers of internal requests; X-Forwarded-For with a private address claims to be one.
COMMANDS = [
    ("X-Forwarded-For", "10.1.2.3"),
    ("X-Envoy-Internal", "true"),
    ("X-Envoy-Retry-On", "5xx,reset,retriable-status-codes"),
    ("X-Envoy-Retry-Grpc-On", "cancelled,internal,unavailable"),
    ("X-Envoy-Max-Retries", "200"),
    ("X-Envoy-Retriable-Status-Codes", "503"),
    ("X-Envoy-Retriable-Header-Names", "content-length"),
    ("X-Envoy-Upstream-Rq-Timeout-Ms", "60000"),
    ("X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms", "1"),
    ("X-Envoy-Upstream-Rq-Timeout-Alt-Response", "1"),
    ("X-Envoy-Hedge-On-Per-Try-Timeout", "true"),
]


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture
def server(node: WaypointNode) -> Iterator[Recorder]:
    with recorder(node) as made:
        yield made


def test_a_client_gets_no_retries_by_headers(node: WaypointNode, server: Recorder) -> None:
    server.script = [503]
    port = node.serve(rule(any_path(), to(server.backend)))
    assert (node.ask(port, headers=COMMANDS).status, len(server.requests)) == (503, 1)
    reached = [name for name, _ in server.requests[0].headers]
    assert [name for name in reached if name.lower().startswith("x-envoy-")] == []


def test_a_client_has_the_time_that_the_route_says(node: WaypointNode, server: Recorder) -> None:
    server.script = [SILENCE]
    port = node.serve(rule(any_path(), to(server.backend), request_timeout=500))
    assert (node.ask(port, headers=COMMANDS).status, len(server.requests)) == (504, 1)


@pytest.mark.parametrize("name", ["X-Envoy-Upstream-Rq-Timeout-Ms", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms"])
def test_a_client_shortens_no_time_either(node: WaypointNode, name: str) -> None:
    sent_headers = [("X-Forwarded-For", "10.1.2.3"), ("X-Envoy-Retry-On", "5xx"), (name, "1")]
    assert node.ask(node.serve(rule(any_path())), "/?wait=0.3", headers=sent_headers).status == 200


def test_the_log_s_client_is_the_peer(node: WaypointNode, server: Recorder) -> None:
    port = node.serve(rule(any_path(), to(server.backend)))
    forged = [
        ("X-Forwarded-For", "10.1.2.3, 10.4.5.6"),
        ("X-Real-Ip", "10.1.2.3"),
        ("X-Envoy-External-Address", "10.1.2.3"),
    ]
    assert node.ask(port, "/forged", headers=forged).status == 200
    wait_for("it is logged", lambda: any(item.path == "/forged" for item in node.ads.exchanges))
    assert {item.client for item in node.ads.exchanges if item.path == "/forged"} == {CLIENT}
    (request,) = server.requests
    assert request.values("x-forwarded-for") == ["10.1.2.3, 10.4.5.6"], "for the server to judge"
