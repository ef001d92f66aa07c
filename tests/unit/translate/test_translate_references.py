"""What a Route is told of backends that cannot take what it would send."""

from collections.abc import Callable

import pytest

from agent.ir.plan import Condition
from agent.model.core import ServicePort
from agent.model.filters import Filter
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import (
    BackendRef,
    FilteredBackendRef,
    GRPCRoute,
    GRPCRouteRule,
    GRPCRouteSpec,
    HTTPRoute,
    HTTPRouteRule,
    L4RouteRule,
    L4RouteSpec,
    Route,
    SessionPersistence,
    TCPRoute,
    UDPRoute,
)
from agent.translate.routes.binding import bindings
from agent.translate.routes.http import http_listener_ir
from agent.translate.routes.status import translate_status
from support.translate import PARENT, http_route, service, view_of

WEB = Key("Service", "app", "web")
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


def spoken(port: ServicePort, make: Callable[[], HTTPRoute | GRPCRoute] = lambda: http_route(backend="x")) -> str:
    """What the waypoint speaks to a backend on this port."""
    route = make()
    view = view_of(service("web", "10.96.0.1"), service("x", "10.96.0.2", port), route)
    applying = bindings(view, WEB, "app")
    (backend,) = http_listener_ir(view, "app/web:80", "", ServicePort(80, "http"), applying).rules[0].backends
    assert backend.backend is not None
    return backend.backend.protocol


@pytest.mark.parametrize(
    ("mark", "protocol"),
    [
        ("http", "http"),
        ("kubernetes.io/ws", "http"),
        ("example.com/own", "http"),
        ("kubernetes.io/h2c", "h2c"),
        ("h2c", "h2c"),
        ("http2", "h2c"),
        ("grpc", "h2c"),
        ("GRPC", "h2c"),
    ],
)
def test_what_a_backend_s_app_protocol_means(mark: str, protocol: str) -> None:
    assert spoken(ServicePort(80, "x", app_protocol=mark)) == protocol


@pytest.mark.parametrize(
    ("name", "protocol"), [("x", "http"), ("http", "http"), ("grpc-a", "h2c"), ("h2c", "h2c"), ("grpcx", "http")]
)
def test_without_one_its_port_s_name_counts(name: str, protocol: str) -> None:
    assert spoken(ServicePort(80, name)) == protocol


@pytest.mark.parametrize("mark", ["", "http", "kubernetes.io/ws"])
def test_grpc_is_http2_whatever_the_port_says(mark: str) -> None:
    rule = GRPCRouteRule(backend_refs=(FilteredBackendRef("x", port=80),))
    route = GRPCRoute(ObjectMeta("r", "app"), GRPCRouteSpec(PARENT, (), (rule,)))
    assert spoken(ServicePort(80, "x", app_protocol=mark), lambda: route) == "h2c"


def test_a_dropped_rule_is_called_by_its_name() -> None:
    bad = HTTPRouteRule(name="odd", filters=(Filter("Magic"),))
    route = http_route(HTTPRouteRule(), bad)
    view = view_of(service("web", "10.96.0.1"), route)
    (status,) = translate_status(view, route.key).statuses[route.key]
    found = next(condition for condition in status.conditions if condition.type == "PartiallyInvalid")
    assert found.message.startswith("Dropped Rule 1 (odd): spec.rules[1].filters[0].type: ")


@pytest.mark.parametrize(("mark", "warned"), [("http", False), ("h2c", True)])
def test_sessions_that_may_move_are_told(mark: str, warned: bool) -> None:
    backends = (FilteredBackendRef("web", port=80), FilteredBackendRef("x", port=80, weight=0))
    route = http_route(HTTPRouteRule(backend_refs=backends, session_persistence=SessionPersistence()))
    port = ServicePort(80, "x", app_protocol=mark)
    view = view_of(service("web", "10.96.0.1"), service("x", "10.96.0.2", port), route)
    (status,) = translate_status(view, route.key).statuses[route.key]
    accepted = next(condition for condition in status.conditions if condition.type == "Accepted")
    assert ("spec.rules[0].sessionPersistence: its backends have different protocols" in accepted.message) == warned
    made = http_listener_ir(view, "app/web:80", "", ServicePort(80, "http"), bindings(view, WEB, "app")).rules[0]
    assert (made.pool is None) == warned
