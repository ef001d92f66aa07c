"""Which clients do not get a Route: because neither end is in mode l7, or they are on the host's network."""

import msgspec
import pytest

from agent.model.change import Change, Upsert
from agent.model.core import PodSpec
from agent.model.facts import PodCgroup
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import BackendRef, HTTPRoute, L4RouteRule, L4RouteSpec, TCPRoute
from agent.node.status import ineffective_routes
from support.translate import PARENT, http_route, namespace, pod, translator

ROUTE = Key("HTTPRoute", "app", "r")


def found(*changes: Change, route: HTTPRoute | TCPRoute | None = None) -> dict[str, set[Key]]:
    """By clients, with the Service in mode l7 and its client too unless a change says otherwise."""
    made = translator(route or http_route())
    made.update(changes)
    outputs = made.outputs.values()
    pods = {cgroup: plan for item in outputs for cgroup, plan in item.pods.items()}
    return ineffective_routes(pods, {name: plan for item in outputs for name, plan in item.frontends.items()})


@pytest.mark.parametrize(("mode", "ineffective"), [("l7", {}), ("l4", {"app": {ROUTE}}), ("none", {})])
def test_both_ends_in_one_mode(mode: str, ineffective: dict[str, set[Key]]) -> None:
    assert found(Upsert(namespace("app", mode))) == ineffective


def test_a_tcproute_is_the_kernel_s_own() -> None:
    route = TCPRoute(ObjectMeta("r", "app"), L4RouteSpec(PARENT, (L4RouteRule((BackendRef("web", port=80),)),)))
    assert found(Upsert(namespace("app", "l4")), route=route) == {}


def test_a_client_in_mode_l4_gets_the_routes_of_a_service_in_mode_l7() -> None:
    other = (
        Upsert(namespace("shop", "l4")),
        Upsert(pod("other", "10.1.0.8", "shop")),
        Upsert(PodCgroup("uid-other", 8)),
    )
    assert found(*other) == {}
    assert found(*other, Upsert(namespace("app", "l4"))) == {"app": {ROUTE}, "shop": {ROUTE}}


def test_pods_on_the_host_s_network_get_none() -> None:
    host = msgspec.structs.replace(pod("host", "192.0.2.1"), spec=PodSpec("here", host_network=True))
    ineffective = found(Upsert(host), Upsert(PodCgroup("uid-host", 8)))
    assert ineffective == {"app, pods on the host's network": {ROUTE}}
