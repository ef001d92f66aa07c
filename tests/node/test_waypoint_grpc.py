"""gRPC: which method goes where, and the status that a client is told when none does."""

from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort
from agent.model.routes import GRPCMethodMatch, GRPCRouteMatch, HeaderMatch
from support.waypoint.caller import call
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import V1_H2C, rule, to

pytestmark = pytest.mark.node
V2_H2C = BackendPort("app", "v2", 80, "h2c")
NOBODY_H2C = BackendPort("app", "nobody", 80, "h2c")


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def method(service: str | None, name: str | None, kind: str = "Exact") -> GRPCRouteMatch:
    return GRPCRouteMatch(method=GRPCMethodMatch(kind, service, name))


@pytest.mark.feature(
    "GRPCRoute: match, service",
    "GRPCRoute: match, method",
    "GRPCRoute: match, service and method",
    "GRPCRoute: match, regular expression",
    "GRPCRoute: no match: UNIMPLEMENTED",
)
@pytest.mark.parametrize(
    ("match", "matching", "other"),
    [
        (method("a.B", "C"), ["/a.B/C"], ["/a.B/CC", "/a.B/D", "/aXB/C"]),
        (method("a.B", None), ["/a.B/C", "/a.B/D"], ["/a.BB/C"]),
        (method(None, "C"), ["/a.B/C", "/x.Y/C"], ["/a.B/D"]),
        (method("a.[BC]", None, "RegularExpression"), ["/a.C/x"], ["/a.D/x"]),
        (method("a|b", "C|D", "RegularExpression"), ["/a/C", "/b/D"], ["/a/E", "/c/C"]),
        (GRPCRouteMatch(), ["/a.B/C"], []),
    ],
    ids=["method", "service", "name", "regex", "alternatives", "any"],
)
def test_methods(node, match, matching, other):
    found = call(node, [rule(match, to(V1_H2C))], *matching, *other)
    assert found == ["v1"] * len(matching) + ["UNIMPLEMENTED"] * len(other)


@pytest.mark.feature("GRPCRoute: match, header exact")
def test_metadata(node):
    rules = [rule(GRPCRouteMatch(headers=(HeaderMatch("who", "me"),)), to(V2_H2C)), rule(GRPCRouteMatch(), to(V1_H2C))]
    assert call(node, rules, "/a/B", metadata='[["who", "me"]]') == ["v2"]
    assert call(node, rules, "/a/B", metadata='[["who", "you"]]') == ["v1"]


@pytest.mark.feature("GRPCRoute: no endpoint: UNAVAILABLE")
@pytest.mark.parametrize("backends", [(), to(None), to(NOBODY_H2C)], ids=["none", "invalid", "no-endpoint"])
def test_who_cannot_answer_is_unavailable(node, backends):
    assert call(node, [rule(GRPCRouteMatch(), backends)], "/a/B") == ["UNAVAILABLE"]


@pytest.mark.feature("GRPCRoute: invalid backend: its share is UNAVAILABLE")
def test_an_invalid_share_is_unavailable(node):
    found = call(node, [rule(GRPCRouteMatch(), to(V1_H2C, None))], *["/a/B"] * 60)
    assert set(found) == {"v1", "UNAVAILABLE"}
