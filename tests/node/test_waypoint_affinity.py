"""`sessionAffinity: ClientIP` at the waypoint: a client keeps its endpoint while that is there, whoever else comes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.ir.http import BackendPort, Pool, Session, TLSRule
from agent.model.routes import GRPCRouteMatch
from support.waypoint.caller import call
from support.waypoint.chance import bound
from support.waypoint.fixtures import PORTS, WaypointNode, waypoint_node
from support.waypoint.rules import V1, any_path, rule, to
from support.waypoint.tls import TLSNode

pytestmark = pytest.mark.node
WITH_AFFINITY = BackendPort("app", "kept", 80, client_ip_affinity=True)
CLIENTS = [f"127.0.3.{number}" for number in range(1, 65)]
TIMES = 10


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        made.servers["kept"] = list(PORTS.values())
        made.allow_clients("127.0.0.1", *CLIENTS)
        yield made


def seats(node: WaypointNode, port: int) -> dict[str, str]:
    """Which pod each client has; fails when one has several."""
    found = {client: {node.ask(port, source=client).pod for _ in range(TIMES)} for client in CLIENTS}
    assert all(len(pods) == 1 for pods in found.values()), found
    return {client: pod for client, (pod,) in found.items()}


def test_each_client_has_one_pod_and_both_pods_have_clients(node):
    found = seats(node, node.serve(rule(any_path(), to(WITH_AFFINITY))))
    assert abs(list(found.values()).count("v1") - len(CLIENTS) / 2) <= bound(0.5, len(CLIENTS))


def test_without_affinity_a_client_meets_both(node):
    port = node.serve(rule(any_path(), to(replace(WITH_AFFINITY, client_ip_affinity=False))))
    assert {node.ask(port).pod for _ in range(TIMES)} == {"v1", "v2"}


def test_a_pod_that_goes_moves_its_own_clients_only_and_gets_them_back(node):
    name = node.add([rule(any_path(), to(WITH_AFFINITY))])
    port = node.serving(name)
    before = seats(node, port)
    node.servers["kept"] = [PORTS["v1"]]
    node.add_clusters([WITH_AFFINITY])
    node.serving(name)
    assert set(seats(node, port).values()) == {"v1"}
    node.servers["kept"] = list(PORTS.values())
    node.add_clusters([WITH_AFFINITY])
    node.serving(name)
    assert seats(node, port) == before


def test_a_pod_that_refuses_is_passed_over(node):
    """Nobody listens at one of three endpoints, which is not known yet."""
    node.servers["gone"] = [*PORTS.values(), 9]
    port = node.serve(rule(any_path(), to(BackendPort("app", "gone", 80, client_ip_affinity=True))))
    assert {node.ask(port, source=client).status for client in CLIENTS} == {200}


def test_of_a_split_each_service_keeps_its_own_clients(node):
    port = node.serve(rule(any_path(), to(WITH_AFFINITY, V1, weights=(3, 1))))
    mine = [{node.ask(port, source=client).pod for _ in range(4 * TIMES)} for client in CLIENTS[:8]]
    assert {"v1"} in mine
    assert {"v1", "v2"} in mine


def test_grpc_calls_of_one_connection_have_one_pod(node):
    kept = replace(WITH_AFFINITY, protocol="h2c")
    assert len(set(call(node, [rule(GRPCRouteMatch(), to(kept))], *["/a.B/C"] * TIMES))) == 1


def test_tls_passed_through(node):
    tls = TLSNode.of(node)
    with tls.server("tls1"), tls.server("tls2"):
        node.servers["tls"] = [*node.servers["tls1"], *node.servers["tls2"]]
        backend = BackendPort("app", "tls", 443, "tcp", client_ip_affinity=True)
        port = tls.serve([TLSRule("app/tls/0", ("a.b",), to(backend))])
        found = [{tls.ask(port, "a.b", source=client) for _ in range(TIMES)} for client in CLIENTS[:20]]
    assert all(len(answers) == 1 for answers in found), found
    assert set().union(*found) == {"tls1 a.b", "tls2 a.b"}


def test_members_of_a_pool_keep_clients_that_have_no_session_yet(node):
    pool = Pool((BackendPort("app", "empty", 80, client_ip_affinity=True), WITH_AFFINITY))
    port = node.serve(rule(any_path(), to(WITH_AFFINITY), session=Session("seat", pool=pool)))
    assert set(seats(node, port).values()) == {"v1", "v2"}
