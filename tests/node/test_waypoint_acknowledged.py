"""Whatever is accepted of a Route, Envoy takes: it would refuse the rules of a port's other Routes with it.

Three hundred sets of Routes by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it three thousand.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.ir.envoy import MAX_PROGRAM_SIZE
from agent.ir.resources import ResourceName, ResourceType
from agent.kube.schema import violation
from agent.model.meta import ObjectMeta
from agent.model.routes import (
    FilteredBackendRef,
    GRPCMethodMatch,
    GRPCRoute,
    GRPCRouteMatch,
    GRPCRouteRule,
    GRPCRouteSpec,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from agent.translate.regex import regex_error
from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node
from support.waypoint.hostile_routes import GRPC_RULES, HTTP_RULES
from support.waypoint.rules import V1, any_path, rewrites, rule, start, to
from support.waypoint.translated import PARENT, translated

pytestmark = pytest.mark.node
SETS = int(3000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
REGEX = "RegularExpression"
UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
WEB = (FilteredBackendRef("web", port=80),)


class Table:
    """One port's route table, which follows the Routes."""

    def __init__(self, node: WaypointNode) -> None:
        self.node = node
        self.accepted: Counter[str] = Counter()

    def refusals(self, *routes: HTTPRoute | GRPCRoute) -> dict[str, str]:
        """What Envoy refuses when these are a port's Routes."""
        listener_ir = translated(*routes, services=("other",))
        self.node.add(listener_ir.rules, name=listener_ir.name, grpc=listener_ir.grpc)
        self.node.publish()
        server = self.node.ads.server
        wait_for("an answer", lambda: server.acknowledged() | server.rejected.keys() >= set(self.node.resources))
        self.accepted.update(rule.name.split("/")[1] for rule in listener_ir.rules)
        return {str(name): reason for name, reason in server.rejected.items()}


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with waypoint_node() as node:
        yield Table(node)


def http_route(name: str, *rules: HTTPRouteRule) -> HTTPRoute:
    return HTTPRoute(ObjectMeta(name, "app"), HTTPRouteSpec((PARENT,), rules=rules))


def grpc_route(name: str, *rules: GRPCRouteRule) -> GRPCRoute:
    return GRPCRoute(ObjectMeta(name, "app"), GRPCRouteSpec((PARENT,), rules=rules))


def stored(kind: str, rules: Sequence[HTTPRouteRule | GRPCRouteRule]) -> list[HTTPRoute | GRPCRoute]:
    """A Route for each rule that an API server would store."""
    make = http_route if kind == "http" else grpc_route
    found = [make(f"{kind}{number}", item) for number, item in enumerate(rules)]
    return [route for route in found if violation(route) is None]


RULES = st.tuples(st.just("http"), st.lists(HTTP_RULES, min_size=1, max_size=6)) | st.tuples(
    st.just("grpc"), st.lists(GRPC_RULES, min_size=1, max_size=6)
)


@settings(max_examples=SETS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(RULES)
def all_is_acknowledged(table: Table, drawn: tuple[str, list[HTTPRouteRule | GRPCRouteRule]]) -> None:
    assert table.refusals(*stored(*drawn)) == {}


def test_envoy_takes_whatever_is_accepted(table: Table) -> None:
    all_is_acknowledged(table)
    print(f"{table.accepted.total()} matches of rules accepted")
    assert table.accepted.total() > SETS / 4


def path(text: str) -> HTTPRouteMatch:
    return HTTPRouteMatch(HTTPPathMatch(REGEX, text))


def method(service: str | None, name: str, kind: str = REGEX) -> GRPCRouteRule:
    return GRPCRouteRule(matches=(GRPCRouteMatch(GRPCMethodMatch(kind, service, name)),), backend_refs=WEB)


LARGEST = "a" * (MAX_PROGRAM_SIZE - 2004) + "b{1000}c{1000}"
LARGER = f"a{LARGEST}"


@pytest.mark.parametrize(
    "route",
    [
        http_route("uuid", HTTPRouteRule(matches=(path(f"/(users|orders)/{UUID}/(details|history)(/.*)?"),))),
        http_route("largest", HTTPRouteRule(matches=(path(LARGEST),))),
        http_route("too-large", HTTPRouteRule(matches=(path(LARGER),))),
        http_route("empty", HTTPRouteRule(matches=(path(""),))),
        http_route(
            "beyond-a-byte", HTTPRouteRule(matches=(HTTPRouteMatch(headers=(HeaderMatch("a", r"\x{100}", REGEX),)),))
        ),
        http_route("nul", HTTPRouteRule(filters=(rewrites(start("/a\0b")),), backend_refs=WEB)),
        grpc_route("long-method", method(None, "a" * 1024, "Exact")),
        grpc_route("open-quote", method(r"\Qa", "b")),
    ],
    ids=lambda route: route.metadata.name,
)
def test_no_rule_stops_those_of_other_routes(table: Table, route: HTTPRoute | GRPCRoute) -> None:
    assert violation(route) is None
    assert table.refusals(route) == {}


def test_the_bound_is_envoy_s(table: Table) -> None:
    """What is one instruction too large here is so there."""
    assert (regex_error(LARGEST), bool(regex_error(LARGER))) == ("", True)
    before = dict(table.node.resources)
    try:
        name = table.node.add([rule(path(LARGER), to(V1)), rule(any_path(), to(V1))])
        table.node.publish()
        refused = ResourceName(ResourceType.ROUTE, name)
        wait_for("Envoy refuses it", lambda: refused in table.node.ads.server.rejected)
        assert f"> max program size of {MAX_PROGRAM_SIZE}" in table.node.ads.server.rejected[refused]
    finally:
        table.node.resources = before
        table.node.publish()
