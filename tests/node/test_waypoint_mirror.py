"""Requests that are copied to other backends, counted where the copies arrive."""

from collections import Counter
from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort
from agent.model.routes import GRPCRouteMatch
from agent.translate.filters.request_mirror import Mirror
from support.waypoint.caller import call
from support.waypoint.chance import bound
from support.waypoint.client import exchange
from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.rules import NO_ENDPOINTS, V1, V1_H2C, V2, any_path, rule, to

pytestmark = pytest.mark.node
ALL, HALF = 1_000_000, 500_000
TIMES = 400


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture
def copies(node) -> Iterator[Recorder]:
    with recorder(node, "copies") as made:
        yield made


def test_a_copy_is_as_the_request_and_its_answer_is_not_heard(node, copies):
    copies.script = [500]
    port = node.serve(rule(any_path(), to(V1), resolved=(Mirror(copies.backend, ALL),)))
    with node.connection(port) as connection:
        headers = {"Host": "App.example", "X-MiXeD": "1"}
        connection.request("POST", "/a?b=c", b"body", headers)
        assert connection.getresponse().status == 200
    wait_for("the copy", lambda: copies.requests)
    (copy,) = copies.requests
    assert (copy.method, copy.path, copy.body) == ("POST", "/a?b=c", b"body")
    assert copy.values("host") == ["App.example"]
    # Envoy makes a copy's header names lower case, and adds two.
    assert [name for name, _ in copy.headers if name not in ("host", "accept-encoding", "content-length")] == [
        "x-mixed",
        "x-forwarded-proto",
        "x-envoy-internal",
        "x-forwarded-for",
    ]


@pytest.mark.feature("HTTPRoute: RequestMirror, several")
def test_several_mirrors_get_a_copy_each(node, copies):
    with recorder(node, "more") as more:
        port = node.serve(rule(any_path(), to(V1), resolved=tuple(Mirror(m.backend, ALL) for m in (copies, more))))
        assert node.pods(port, 20) == ["v1"] * 20
        for mirror in (copies, more):
            wait_for("every copy", lambda mirror=mirror: len(mirror.requests) == 20)


def test_a_share_is_copied_of_each_backend_s_requests(node, copies):
    port = node.serve(rule(any_path(), to(V1, V2), resolved=(Mirror(copies.backend, HALF),)))
    with node.connection(port) as connection:
        answered = {f"/{number}": exchange(connection, f"/{number}").pod for number in range(TIMES)}
    wait_for("enough copies", lambda: len(copies.requests) > TIMES / 2 - bound(0.5, TIMES))
    found = Counter(answered[request.path] for request in copies.requests)
    assert found.keys() == {"v1", "v2"}
    assert max(found.values()) < TIMES / 4 + bound(0.25, TIMES)


def test_a_mirror_without_endpoints_hurts_nobody(node):
    port = node.serve(rule(any_path(), to(V1), resolved=(Mirror(NO_ENDPOINTS, ALL),)))
    assert node.pods(port, 20) == ["v1"] * 20


@pytest.mark.feature("GRPCRoute: RequestMirror")
def test_grpc_calls_are_copied(node):
    mirror = BackendPort("app", "v2", 80, "h2c")
    rules = [rule(GRPCRouteMatch(), to(V1_H2C), resolved=(Mirror(mirror, ALL),))]
    assert call(node, rules, *["/a.B/C"] * 5) == ["v1"] * 5
    wait_for("every copy", lambda: node.statistic("cluster.app/v2_80/h2c.upstream_rq_total") == 5)
