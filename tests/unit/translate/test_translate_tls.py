"""TLSRoutes of one Service: which ports they cover, and who has which server name."""

import pytest

from agent.model.core import ServicePort
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import (
    BackendRef,
    HTTPRoute,
    HTTPRouteSpec,
    L4RouteRule,
    L4RouteSpec,
    ParentReference,
    TCPRoute,
    TLSRoute,
    TLSRouteSpec,
)
from agent.translate.routes.binding import Binding, bindings, effective_bindings
from agent.translate.routes.tls import tls_listener_ir
from support.translate import PARENT, service, slice_of, view_of

WEB = Key("Service", "app", "web")
HTTPS = ServicePort(443, "https")
RULES = (L4RouteRule((BackendRef("web", port=443),)),)


def tls_route(name: str, *hostnames: str, year: int = 2020, parents: tuple[ParentReference, ...] = PARENT) -> TLSRoute:
    meta = ObjectMeta(name, "app", creation_timestamp=f"{year}-01-01T00:00:00Z")
    return TLSRoute(meta, TLSRouteSpec(parents, hostnames, RULES))


def bound(*routes: object, ports: tuple[ServicePort, ...] = (HTTPS,)) -> dict[str, Binding]:
    view = view_of(service("web", "10.96.0.1", *ports), slice_of("web"), *routes)
    return {item.route.metadata.name: item for item in bindings(view, WEB, "app")}


def names(*routes: TLSRoute) -> dict[str, tuple[str, ...]]:
    """Server names by the route that has them."""
    view = view_of(service("web", "10.96.0.1", HTTPS), *routes)
    applying = effective_bindings(bindings(view, WEB, "app"), HTTPS)
    return {
        rule.name.split("/")[1]: rule.server_names for rule in tls_listener_ir(view, "app/web:443", "", applying).rules
    }


@pytest.mark.parametrize(
    ("port", "covered"),
    [
        (HTTPS, True),
        (ServicePort(1, "tls-x"), True),
        (ServicePort(1, "x", app_protocol="kubernetes.io/wss"), True),
        (ServicePort(1, "x"), True),
        (ServicePort(1, "http"), False),
        (ServicePort(1, "mysql"), False),
        (ServicePort(1, "tls", app_protocol="http"), False),
        (ServicePort(1, "https", "UDP"), False),
    ],
)
def test_ports_that_are_not_named(port: ServicePort, covered: bool) -> None:
    found = bound(tls_route("r"), ports=(port,))["r"]
    assert (found.effective_ports == (port,), found.reason) == ((True, "") if covered else (False, "NoMatchingParent"))


def test_a_port_that_is_named_is_covered_whatever_it_is_called() -> None:
    mysql = ServicePort(3306, "mysql")
    parents = (ParentReference("web", "", "Service", port=3306),)
    assert bound(tls_route("r", parents=parents), ports=(mysql,))["r"].effective_ports == (mysql,)


def test_a_name_belongs_to_the_oldest_route_that_has_it() -> None:
    old, young = tls_route("old", "a", "b", year=2020), tls_route("young", "b", "*.c", year=2021)
    assert names(young, old) == {"old": ("a", "b"), "young": ("*.c",)}
    found = bound(young, old)
    assert (found["old"].claimed_hostnames, found["young"].claimed_hostnames) == ((), (("b", old.key),))
    assert found["young"].effective_ports == (HTTPS,)


def test_a_name_that_is_said_twice_is_there_once() -> None:
    assert names(tls_route("r", "a", "a")) == {"r": ("a",)}


def test_no_names_are_the_rest_for_one_route_only() -> None:
    old, young = tls_route("old", year=2020), tls_route("young", year=2021)
    assert names(old, young, tls_route("named", "a", year=2022)) == {"old": (), "named": ("a",)}
    assert bound(old, young)["young"].reason == "Conflicted"


def test_a_route_whose_every_name_is_others_conflicts() -> None:
    one, two = tls_route("one", "a", year=2020), tls_route("two", "b", year=2021)
    found = bound(one, two, tls_route("last", "a", "b", year=2022))["last"]
    assert (found.reason, found.conflicts) == ("Conflicted", ((HTTPS, one.key),))


def test_a_tcproute_gives_way_and_an_httproute_does_not() -> None:
    parents = (ParentReference("web", "", "Service", port=443),)
    tls = tls_route("tls")
    tcp = TCPRoute(ObjectMeta("tcp", "app"), L4RouteSpec(PARENT, RULES))
    assert bound(tls, tcp)["tcp"].conflicts == ((HTTPS, tls.key),)
    http = HTTPRoute(ObjectMeta("http", "app"), HTTPRouteSpec(parents))
    assert bound(tls, http)["tls"].conflicts == ((HTTPS, http.key),)
