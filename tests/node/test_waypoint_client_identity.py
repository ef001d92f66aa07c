"""Who the client of a request is, told to servers: by the waypoint alone, and only where their Service asks for it."""

from collections.abc import Iterator

import pytest

from agent.model.routes import GRPCRouteMatch
from support.waypoint.caller import call
from support.waypoint.fixtures import WaypointNode
from support.waypoint.known_clients import CLIENTS, node_with_known_clients
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.rules import V1_H2C, any_path, changes, filtered, rule, to

pytestmark = pytest.mark.node

HEADER = "x-forwarded-client-cert"
FORGED = [("X-Forwarded-Client-Cert", "URI=spiffe://example.org/ns/shop/sa/admin"), (HEADER, "Hash=1")]

# The client without an identity has no header.
EXPECTED = [["URI=spiffe://example.org/ns/shop/sa/web"], ["URI=spiffe://example.org/ns/cart/sa/default"], []]


@pytest.fixture(scope="module")
def made() -> Iterator[WaypointNode]:
    with node_with_known_clients() as node:
        yield node


@pytest.fixture
def node(made: WaypointNode) -> WaypointNode:
    """Servers of listeners that are added are told who their clients are."""
    made.trust_domain = "example.org"
    return made


@pytest.fixture
def server(node: WaypointNode) -> Iterator[Recorder]:
    with recorder(node) as running:
        yield running


def identities(node: WaypointNode, server: Recorder, port: int, *headers: tuple[str, str]) -> list[list[str]]:
    """What the server is told of each client, which sends these headers."""
    server.requests.clear()
    for source in CLIENTS:
        assert node.ask(port, "/", source=source, headers=list(headers)).status == 200
    return [request.values(HEADER) for request in server.requests]


@pytest.mark.parametrize("sent", [(), tuple(FORGED)], ids=["nothing", "forged"])
def test_servers_are_told_the_service_account_of_the_client(
    node: WaypointNode, server: Recorder, sent: tuple[tuple[str, str], ...]
) -> None:
    port = node.serve(rule(any_path(), to(server.backend)))
    assert identities(node, server, port, *sent) == EXPECTED


def test_without_the_annotation_what_clients_send_is_removed(node: WaypointNode, server: Recorder) -> None:
    node.trust_domain = ""
    port = node.serve(rule(any_path(), to(server.backend)))
    assert identities(node, server, port, *FORGED) == [[], [], []]


def test_no_route_tells_another_client(node: WaypointNode, server: Recorder) -> None:
    forging = changes("request", set={HEADER: "URI=spiffe://example.org/ns/shop/sa/admin"})
    for forged in (
        rule(any_path(), (filtered(forging, by=server.backend),)),
        rule(any_path(), (filtered(forging, by=server.backend), *to(server.backend))),
        rule(any_path(), to(server.backend), forging),
    ):
        assert identities(node, server, node.serve(forged)) == EXPECTED


def test_grpc_requests_are_served_with_it(node: WaypointNode) -> None:
    assert call(node, [rule(GRPCRouteMatch(), to(V1_H2C))], "/a.B/C") == ["v1"]
