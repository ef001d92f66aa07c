"""What an agent reports of its node: which resources Envoy refuses, and the Routes that they are made of."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest
from msgspec import UNSET

from agent.ir.authorization import ServerPlan
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.plan import Condition, FrontendName, FrontendPlan, Output, ParentStatus
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import Mode, Protocol
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch, ParentReference
from agent.model.weft_node import (
    MAX_ADDRESSES,
    MAX_GUARDED,
    MAX_POLICIES,
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    MAX_WAYPOINTS,
    Guarded,
    Owner,
    ParentPort,
    PolicyGeneration,
    RejectedResource,
    RouteGeneration,
    WeftNode,
    WeftNodeStatus,
)
from agent.node.weft_node import Dependencies, guard_status, rejected_routes, rejections, weft_node, with_rejections
from agent.translate.options import Options
from agent.waypoint.xds.render import render

WEB, API = Key("Service", "app", "web"), Key("Service", "app", "api")
ROUTE, OTHER = Key("HTTPRoute", "app", "web"), Key("HTTPRoute", "app", "other")
LISTENER = ResourceName(ResourceType.LISTENER, "app/web:80")
SHARED = ResourceName(ResourceType.CLUSTER, "app/back:80/http")


def service(key: Key, *routes: Key, addresses: tuple[str, ...] = ("10.96.0.1", "fd00::1"), port: int = 80) -> Output:
    """A Service whose port needs the waypoint, at several addresses."""
    listener = f"{key.namespace}/{key.name}:{port}"
    plan = FrontendPlan(key, Mode.L7, (), listener, routes=routes)
    rules = (Rule("app/r/0/0", HTTPRouteMatch(), backends=(WeightedBackend(BackendPort("app", "back", 80), 1),)),)
    return Output(
        frontends={FrontendName(address, port, Protocol.TCP): plan for address in addresses},
        listeners={listener: HTTPListenerIR(listener, "", port, False, rules)},
        endpoints={BackendPort("app", "back", 80): ()},
    )


def needs(outputs: Iterable[Output]) -> dict[str, frozenset[ResourceName]]:
    """What the listeners depend on."""
    return {name: found for item in outputs for name, found in render(item, Options()).dependencies.items()}


def status(key: Key, generation: int) -> Output:
    parent = ParentReference("web", "", "Service")
    conditions = tuple(Condition(name, True, name, "", generation) for name in ("Accepted", "ResolvedRefs"))
    return Output(statuses={key: (ParentStatus(parent, conditions),)})


def report(
    name: str, uid: str, outputs: list[Output], dependencies: Dependencies, rejected: dict[ResourceName, str]
) -> WeftNode:
    """A WeftNode with rejections alone."""
    return weft_node(name, uid, with_rejections(WeftNodeStatus(), outputs, dependencies, rejected))


OUTPUTS = [service(WEB, ROUTE, OTHER), service(API, OTHER), status(ROUTE, 3), status(OTHER, 7)]


def test_a_listener_concerns_the_routes_of_its_port_in_the_generation_that_there_is() -> None:
    made = report("n1", "uid-1", OUTPUTS, needs(OUTPUTS), {LISTENER: "cannot bind"})
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
    found = rejections(OUTPUTS, needs(OUTPUTS), {SHARED: "bad"})
    assert [(item.parent, item.routes) for item in found] == [((API, 80), (OTHER,)), ((WEB, 80), (ROUTE, OTHER))]
    assert rejected_routes(found) == {ROUTE: f"{SHARED}: bad", OTHER: f"{SHARED}: bad"}


def test_what_no_port_needs_is_listed_too() -> None:
    unused = ResourceName(ResourceType.CLUSTER, "otlp")
    made = report("n1", "", OUTPUTS, needs(OUTPUTS), {unused: "bad"})
    assert made.metadata.owner_references == ()
    assert made.status.rejected == (RejectedResource("Cluster", "otlp", "bad"),)
    assert "routes" not in made.document()["status"]["rejected"][0]


def test_nothing_refused_is_an_empty_report() -> None:
    assert report("n1", "u", OUTPUTS, needs(OUTPUTS), {}).document()["status"] == {
        "rejected": (),
        "rejectedCount": 0,
        "waypoints": (),
        "guarded": (),
        "tunnels": None,
    }


def test_the_order_of_what_is_known_makes_no_difference() -> None:
    refused = {LISTENER: "a", SHARED: "b"}
    backwards = dict(reversed(refused.items()))
    assert report("n1", "u", OUTPUTS, needs(OUTPUTS), refused) == report(
        "n1", "u", OUTPUTS[::-1], needs(OUTPUTS[::-1]), backwards
    )


def test_a_report_is_bounded_and_says_how_many_there_are() -> None:
    routes = tuple(Key("HTTPRoute", "app", f"r{number}") for number in range(MAX_ROUTES + 5))
    many = [service(WEB, *routes, port=port) for port in range(1, MAX_REJECTED + 31)]
    made = report("n1", "u", many, needs(many), {SHARED: "x" * 5 * MAX_TEXT})
    assert (len(made.status.rejected), made.status.rejected_count) == (MAX_REJECTED, MAX_REJECTED + 30)
    assert {len(item.routes) for item in made.status.rejected} == {MAX_ROUTES}
    assert {len(item.message) for item in made.status.rejected} == {MAX_TEXT}


@pytest.mark.parametrize("text", ["\x1b[2Jred", "two\nlines", "\u202eright to left", "\U0001f578"])
def test_what_a_terminal_would_obey_is_escaped(text: str) -> None:
    (item,) = report("n1", "u", OUTPUTS, needs(OUTPUTS), {LISTENER: text}).status.rejected
    assert text not in item.message
    assert item.message.isprintable()
    assert item.message.isascii()


def test_the_object_is_read_as_it_was_written() -> None:
    made = report("n1", "u", OUTPUTS, needs(OUTPUTS), {LISTENER: "a", SHARED: "b"})
    assert msgspec.json.decode(msgspec.json.encode(made.document()), type=WeftNode) == made


def test_frontends_without_a_listener_are_passed_over() -> None:
    plain = {name: replace(plan, listener=None) for name, plan in OUTPUTS[0].frontends.items()}
    (item,) = rejections([replace(OUTPUTS[0], frontends=plain)], needs(OUTPUTS), {LISTENER: "a"})
    assert item.parent is None


def protected(name: str, addresses: Iterable[str], *policies: str, namespace: str = "app") -> ServerPlan:
    keys = tuple(Key("AuthorizationPolicy", namespace, policy) for policy in policies)
    generations = tuple(range(1, len(keys) + 1))
    return ServerPlan(Key("Pod", namespace, name), tuple(addresses), (), keys, generations=generations)


def test_pods_with_the_same_policies_are_one_entry() -> None:
    servers = [
        protected("a", ("10.0.0.1", "fd00::0:1"), "p", "q"),
        protected("b", ("10.0.0.2",), "p", "q"),
        protected("c", ("10.0.0.3",), "p"),
        protected("d", ("10.0.0.4",), "p", namespace="other"),
        protected("no address yet", (), "p"),
    ]
    p, q = PolicyGeneration("p", 1), PolicyGeneration("q", 2)
    made = guard_status(["10.9.0.2", "", "fd00::9", "10.9.0.2"], None, servers)
    assert made.waypoints == ("10.9.0.2", "fd00::9")
    assert made.guarded == (
        Guarded("app", ("10.0.0.1", "10.0.0.2", "fd00::1"), (p, q)),
        Guarded("app", ("10.0.0.3",), (p,)),
        Guarded("other", ("10.0.0.4",), (p,)),
    )
    assert made.waypoint_policies is UNSET
    assert [guard_status((), known, ()).waypoint_policies for known in (True, False)] == [True, False]
    assert guard_status(["fd00::9", "10.9.0.2"], None, reversed(servers)) == made
    assert "rejected" not in weft_node("n1", "", made).document()["status"], "a patch leaves what was reported"


def test_what_is_reported_of_policies_is_bounded() -> None:
    many = [protected(f"p{n}", [f"10.{n}.0.{m}" for m in range(MAX_ADDRESSES + 1)], f"p{n}") for n in range(200)]
    too_many = protected("all", ("10.250.0.1",), *(f"q{n}" for n in range(MAX_POLICIES + 1)))
    made = guard_status([f"10.9.0.{n}" for n in range(MAX_WAYPOINTS + 1)], None, [*many, too_many])
    assert (len(made.waypoints), len(made.guarded)) == (MAX_WAYPOINTS, MAX_GUARDED)
    assert {len(entry.addresses) for entry in made.guarded} == {MAX_ADDRESSES, 1}
    assert not any("10.250.0.1" in entry.addresses for entry in made.guarded)
