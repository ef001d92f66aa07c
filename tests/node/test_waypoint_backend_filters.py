"""Filters of one backend among several: every request is treated as its own backend's filters say."""

from collections import Counter
from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort, WeightedBackend
from agent.model.routes import GRPCRouteMatch
from agent.translate.filters.request_mirror import Mirror
from support.waypoint.caller import call
from support.waypoint.chance import bound
from support.waypoint.client import Answer, exchange
from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.rules import (
    V1,
    V1_H2C,
    V2,
    any_path,
    changes,
    filtered,
    full,
    prefix,
    redirects,
    rewrites,
    rule,
    start,
    to,
)

pytestmark = pytest.mark.node
TIMES = 10_000


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture
def copies(node: WaypointNode) -> Iterator[Recorder]:
    with recorder(node, "copies") as made:
        yield made


def treated(answer: Answer) -> tuple[object, ...]:
    """Who answered, as whose request; or what the waypoint said instead."""
    if not answer.seen:
        return (answer.status, *answer.values("location"))
    return (answer.pod, answer.seen["host"], answer.seen["path"])


@pytest.mark.feature("HTTPRoute: backends, URLRewrite", "HTTPRoute: backends, RequestRedirect")
def test_every_share_is_as_large_and_treated_as_its_backend_says(node: WaypointNode) -> None:
    backends = {
        ("v1", "one", "/own?q=1"): filtered(rewrites(full("/own"), "one"), weight=50),
        ("v2", "two", "/new/x?q=1"): filtered(rewrites(start("/new"), "two"), by=V2, weight=25),
        (307, "http://away/old/x?q=1"): filtered(redirects(hostname="away", status_code=307), weight=10),
        (500,): filtered(rewrites(full("/never")), by=None, weight=5),
        ("v2", "app", "/old/x?q=1"): WeightedBackend(V2, 10),
    }
    port = node.serve(rule(prefix("/old"), tuple(backends.values())))
    with node.connection(port) as connection:
        found = Counter(treated(exchange(connection, "/old/x?q=1", host="app")) for _ in range(TIMES))
    assert found.keys() == backends.keys()
    for what, backend in backends.items():
        share = backend.weight / 100
        assert abs(found[what] - TIMES * share) <= bound(share, TIMES), (what, found)


def test_a_rule_s_rewrite_holds_where_the_backend_s_says_nothing(node: WaypointNode) -> None:
    filters = (rewrites(full("/all"), "all"), changes("request", set={"x-set": "rule"}))
    port = node.serve(rule(any_path(), (filtered(rewrites(full("/own"))),), *filters))
    answer = node.ask(port, "/x")
    assert (answer.seen["host"], answer.seen["path"], answer.sent("x-set")) == ("all", "/own", ["rule"])


@pytest.mark.feature("HTTPRoute: backends, RequestMirror")
def test_copies_are_of_the_backend_s_own_requests(node: WaypointNode, copies: Recorder) -> None:
    """A fifth of what the second of three backends gets, and half of what any of them gets."""
    with recorder(node, "all") as everything:
        backends = (
            *to(V2),
            WeightedBackend(V1, 2, (rewrites(full("/own")),), (Mirror(copies.backend, 200_000),)),
            *to(None),
        )
        port = node.serve(rule(any_path(), backends, resolved=(Mirror(everything.backend, 500_000),)))
        with node.connection(port) as connection:
            answered = Counter(exchange(connection, "/").pod for _ in range(TIMES // 5))
        own, half = answered["v1"] / 5, (answered["v1"] + answered["v2"]) / 2
        wait_for("copies", lambda: abs(len(copies.requests) - own) <= bound(0.2, answered["v1"]))
        wait_for("half", lambda: abs(len(everything.requests) - half) <= bound(0.5, answered["v1"] + answered["v2"]))
        assert {request.path for request in copies.requests} == {"/own"}
        paths = Counter(request.path for request in everything.requests)
        assert abs(paths["/own"] - answered["v1"] / 2) <= bound(0.5, answered["v1"])


@pytest.mark.feature("GRPCRoute: backends, RequestMirror")
def test_copies_are_of_the_backend_s_own_calls(node: WaypointNode) -> None:
    mirror = BackendPort("app", "v2", 80, "h2c")
    copied = WeightedBackend(V1_H2C, 1, (changes("request", set={"x-to": "one"}),), (Mirror(mirror, 1_000_000),))
    rules = [rule(GRPCRouteMatch(), (copied, *to(None)))]
    found = Counter(call(node, rules, *["/a.B/C"] * 40))
    assert found.keys() == {"v1", "UNAVAILABLE"}
    copies = "cluster.app/v2_80/h2c.upstream_rq_total"
    wait_for("every copy", lambda: node.statistic(copies) == found["v1"])
