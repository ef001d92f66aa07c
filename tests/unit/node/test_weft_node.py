"""What an agent reports of its node: which resources Envoy refuses, and the Routes that they are made of."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest

from agent.ir.http import BackendPort, RouteSet, Rule, WeightedBackend
from agent.ir.plan import Condition, Fragment, FrontendName, FrontendPlan, ParentStatus
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import Mode, Protocol
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch, ParentReference
from agent.model.weft_node import (
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    Owner,
    ParentPort,
    RejectedResource,
    RouteGeneration,
    WeftNode,
)
from agent.node.weft_node import refusals, refused_routes, weft_node
from agent.translate.options import Options
from agent.waypoint.xds.render import render

WEB, API = Key("Service", "app", "web"), Key("Service", "app", "api")
ROUTE, OTHER = Key("HTTPRoute", "app", "web"), Key("HTTPRoute", "app", "other")
LISTENER = ResourceName(ResourceType.LISTENER, "app/web:80")
SHARED = ResourceName(ResourceType.CLUSTER, "app/back:80/http")


def service(key: Key, *routes: Key, addresses: tuple[str, ...] = ("10.96.0.1", "fd00::1"), port: int = 80) -> Fragment:
    """A Service whose port needs the waypoint, at several addresses."""
    listener = f"{key.namespace}/{key.name}:{port}"
    plan = FrontendPlan(key, Mode.L7, (), listener, routes=routes)
    rules = (Rule("app/r/0/0", HTTPRouteMatch(), backends=(WeightedBackend(BackendPort("app", "back", 80), 1),)),)
    return Fragment(
        frontends={FrontendName(address, port, Protocol.TCP): plan for address in addresses},
        route_sets={listener: RouteSet(listener, "", port, False, rules)},
        endpoints={BackendPort("app", "back", 80): ()},
    )


def needs(fragments: Iterable[Fragment]) -> dict[str, frozenset[ResourceName]]:
    """What the listeners depend on."""
    return {name: found for item in fragments for name, found in render(item, Options()).dependencies.items()}


def status(key: Key, generation: int) -> Fragment:
    parent = ParentReference("web", "", "Service")
    conditions = tuple(Condition(name, True, name, "", generation) for name in ("Accepted", "ResolvedRefs"))
    return Fragment(statuses={key: (ParentStatus(parent, conditions),)})


FRAGMENTS = [service(WEB, ROUTE, OTHER), service(API, OTHER), status(ROUTE, 3), status(OTHER, 7)]


def test_a_listener_concerns_the_routes_of_its_port_in_the_generation_that_there_is() -> None:
    made = weft_node("n1", "uid-1", FRAGMENTS, needs(FRAGMENTS), {LISTENER: "cannot bind"})
    assert made.metadata.name == "n1"
    assert made.metadata.owner_references == (Owner("v1", "Node", "n1", "uid-1"),)
    assert made.status.rejected_count == 1
    assert made.status.rejected == (
        RejectedResource(
            "Listener",
            "app/web:80",
            "cannot bind",
            ParentPort("Service", "app", "web", 80),
            (RouteGeneration(*ROUTE, 3), RouteGeneration(*OTHER, 7)),
        ),
    )


def test_what_several_ports_need_is_listed_for_each() -> None:
    found = refusals(FRAGMENTS, needs(FRAGMENTS), {SHARED: "bad"})
    assert [(item.parent, item.routes) for item in found] == [((API, 80), (OTHER,)), ((WEB, 80), (ROUTE, OTHER))]
    assert refused_routes(found) == {ROUTE: f"{SHARED}: bad", OTHER: f"{SHARED}: bad"}


def test_what_no_port_needs_is_listed_too() -> None:
    unused = ResourceName(ResourceType.CLUSTER, "otlp")
    made = weft_node("n1", "", FRAGMENTS, needs(FRAGMENTS), {unused: "bad"})
    assert made.metadata.owner_references == ()
    assert made.status.rejected == (RejectedResource("Cluster", "otlp", "bad"),)
    assert "routes" not in made.document()["status"]["rejected"][0]


def test_nothing_refused_is_an_empty_report() -> None:
    assert weft_node("n1", "u", FRAGMENTS, needs(FRAGMENTS), {}).document()["status"] == {
        "rejected": (),
        "rejectedCount": 0,
    }


def test_the_order_of_what_is_known_makes_no_difference() -> None:
    refused = {LISTENER: "a", SHARED: "b"}
    backwards = dict(reversed(refused.items()))
    assert weft_node("n1", "u", FRAGMENTS, needs(FRAGMENTS), refused) == weft_node(
        "n1", "u", FRAGMENTS[::-1], needs(FRAGMENTS[::-1]), backwards
    )


def test_a_report_is_bounded_and_says_how_many_there_are() -> None:
    routes = tuple(Key("HTTPRoute", "app", f"r{number}") for number in range(MAX_ROUTES + 5))
    many = [service(WEB, *routes, port=port) for port in range(1, MAX_REJECTED + 31)]
    made = weft_node("n1", "u", many, needs(many), {SHARED: "x" * 5 * MAX_TEXT})
    assert (len(made.status.rejected), made.status.rejected_count) == (MAX_REJECTED, MAX_REJECTED + 30)
    assert {len(item.routes) for item in made.status.rejected} == {MAX_ROUTES}
    assert {len(item.message) for item in made.status.rejected} == {MAX_TEXT}


@pytest.mark.parametrize("text", ["\x1b[2Jred", "two\nlines", "\u202eright to left", "\U0001f578"])
def test_what_a_terminal_would_obey_is_escaped(text: str) -> None:
    (item,) = weft_node("n1", "u", FRAGMENTS, needs(FRAGMENTS), {LISTENER: text}).status.rejected
    assert text not in item.message
    assert item.message.isprintable()
    assert item.message.isascii()


def test_the_object_is_read_as_it_was_written() -> None:
    made = weft_node("n1", "u", FRAGMENTS, needs(FRAGMENTS), {LISTENER: "a", SHARED: "b"})
    assert msgspec.json.decode(msgspec.json.encode(made.document()), type=WeftNode) == made


def test_frontends_without_a_listener_are_passed_over() -> None:
    plain = {name: replace(plan, listener=None) for name, plan in FRAGMENTS[0].frontends.items()}
    (item,) = refusals([replace(FRAGMENTS[0], frontends=plain)], needs(FRAGMENTS), {LISTENER: "a"})
    assert item.parent is None
