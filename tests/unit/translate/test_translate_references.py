"""What a Route is told of backends that cannot take what it would send."""

import pytest
from translate_fixtures import PARENT, http_route, service, view_of

from agent.model.core import ServicePort
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import BackendRef, L4RouteRule, L4RouteSpec, Route, TCPRoute, UDPRoute
from agent.plan.plan import Condition
from agent.translate.routes.status import translate_status

RULES = (L4RouteRule((BackendRef("x", port=80),)),)
TCP = TCPRoute(ObjectMeta("r", "app"), L4RouteSpec(PARENT, RULES))
UDP = UDPRoute(ObjectMeta("r", "app"), L4RouteSpec(PARENT, RULES))


def resolved(route: Route, port: ServicePort) -> Condition:
    """The condition ResolvedRefs of a Route whose one backend is this port."""
    view = view_of(service("web", "10.96.0.1"), service("x", "10.96.0.2", port), route)
    (status,) = translate_status(view, route.key).statuses[route.key]
    return next(condition for condition in status.conditions if condition.type == "ResolvedRefs")


@pytest.mark.parametrize(
    ("route", "port", "spoken"),
    [
        (http_route(backend="x"), ServicePort(80, "x", "UDP"), "UDP"),
        (http_route(backend="x"), ServicePort(80, "x", app_protocol="kubernetes.io/wss"), "kubernetes.io/wss"),
        (TCP, ServicePort(80, "x", "UDP"), "UDP"),
        (UDP, ServicePort(80, "x"), "TCP"),
    ],
)
def test_a_backend_of_another_protocol_is_named(route: Route, port: ServicePort, spoken: str) -> None:
    found = resolved(route, port)
    assert (found.status, found.reason) == (False, "UnsupportedProtocol")
    assert found.message == f"spec.rules[0].backendRefs[0].port: Service app/x port 80 is {spoken}"


@pytest.mark.parametrize("route", [http_route(backend="x"), TCP])
def test_a_backend_of_the_right_protocol_resolves(route: Route) -> None:
    assert resolved(route, ServicePort(80, "x")).status


def test_a_route_that_is_gone_has_no_status() -> None:
    assert not translate_status(view_of(), Key("HTTPRoute", "app", "r")).statuses
