"""What translation once did wrong. What Envoy refuses was tried with `envoy --mode validate`."""

import pytest

from agent.ir.tables import address_bytes
from agent.model.change import Delete, Upsert
from agent.model.core import Service, ServicePort, ServiceSpec
from agent.model.discovery import Endpoint, EndpointPort
from agent.model.filters import Filter, Header, HeaderFilter
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import BackendRef, HTTPRouteMatch, HTTPRouteRule, L4RouteRule, L4RouteSpec, TCPRoute
from agent.translate.endpoints import endpoints
from agent.translate.options import Options
from agent.translate.regex import regex_error
from agent.translate.routes.binding import bindings, effective_bindings
from agent.translate.routes.http import http_listener_ir
from agent.translate.routes.l4 import route_slots, service_slots
from agent.translate.routes.validate import check
from support.translate import PARENT, endpoint, http_route, service, slice_of, translator, view_of

WEB = Key("Service", "app", "web")
BOTH = (ServicePort(53, "u", "UDP"), ServicePort(53, "t", "TCP"))


@pytest.mark.parametrize("text", [r"a\Z", r"(?x)a b", r"(?#c)a", r"(a{100}){100}", r"\u0041", r"(?a)b", r"(?u)b"])
def test_what_re2_does_not_take_is_refused(text: str) -> None:
    assert regex_error(text)


def test_a_character_class_is_not_a_possessive_repeat() -> None:
    assert not regex_error("[*+]x")


def test_a_header_value_cannot_have_a_line_break() -> None:
    bad = Filter("RequestHeaderModifier", HeaderFilter(set=(Header("a", "b\r\nc"),)))
    assert check(http_route(HTTPRouteRule(filters=(bad,)))).errors


@pytest.mark.parametrize("change", [HeaderFilter(set=(Header("Host", "b"),)), HeaderFilter(remove=("host",))])
def test_the_host_header_is_not_a_modifier_s(change: HeaderFilter) -> None:
    assert check(http_route(HTTPRouteRule(filters=(Filter("RequestHeaderModifier", change),)))).errors


def test_too_many_rules_are_one_error_of_the_route() -> None:
    found = check(http_route(*[HTTPRouteRule()] * 17))
    assert not found.valid
    assert [error.field for _, error in found.errors] == ["spec.rules"]


def test_a_tcproute_finds_the_tcp_port_behind_a_udp_port_of_the_same_number() -> None:
    view = view_of(
        service("dns", "10.96.0.5", *BOTH), slice_of("dns", endpoint("10.1.0.1"), port=EndpointPort("t", 53))
    )
    route = TCPRoute(ObjectMeta("r", "app"), L4RouteSpec(PARENT, (L4RouteRule((BackendRef("dns", port=53),)),)))
    assert [slot.address for slot in route_slots(view, route, 4, Options())] == [address_bytes("10.1.0.1")]


def rules_for(view_values: tuple[object, ...], *rules: HTTPRouteRule) -> list[object]:
    web = service("web", "10.96.0.1")
    view = view_of(web, http_route(*rules), *view_values)
    port = web.spec.ports[0]
    return list(
        http_listener_ir(view, "app/web:80", "", port, effective_bindings(bindings(view, WEB, "app"), port)).rules
    )


def test_a_backend_of_an_unsupported_protocol_is_invalid() -> None:
    (rule,) = rules_for(
        (service("tls", "10.96.0.6", ServicePort(80, "x", app_protocol="https")),),
        *http_route(backend="tls").spec.rules,
    )
    assert rule.backends[0].backend is None  # type: ignore[attr-defined]


def test_an_http_rule_without_matches_matches_everything() -> None:
    (rule,) = rules_for((), HTTPRouteRule(matches=()))
    assert rule.match == HTTPRouteMatch()  # type: ignore[attr-defined]


def test_each_family_falls_back_by_itself() -> None:
    dual = Service(
        ObjectMeta("web", "app"), ServiceSpec(cluster_ips=("10.96.0.1", "fd00::1"), ports=(ServicePort(80, "http"),))
    )
    view = view_of(
        dual, slice_of("web", endpoint("10.1.0.1")), slice_of("web", endpoint("fd01::1", False, True), kind="IPv6")
    )
    assert len(service_slots(view, dual, dual.spec.ports[0], 6, Options())) == 1


def test_local_traffic_needs_the_node_s_name() -> None:
    local = Service(
        ObjectMeta("web", "app"),
        ServiceSpec(cluster_ips=("10.96.0.1",), ports=(ServicePort(80, "http"),), internal_traffic_policy="Local"),
    )
    placed = Endpoint(("10.1.0.1",), node_name="there")
    assert endpoints(view_of(local, slice_of("web", placed)), local, local.spec.ports[0], 4, Options())


def test_what_is_gone_is_forgotten() -> None:
    made = translator()
    before = len(made._reads)
    made.update([Upsert(service("brief", "10.96.0.7"))])
    made.update([Delete(Key("Service", "app", "brief"))])
    assert len(made._reads) == before


def test_an_unsupported_filter_is_named_by_its_field() -> None:
    own = Filter("ExtensionRef", extension_ref={})
    ((_, error),) = check(http_route(HTTPRouteRule(filters=(own,)))).errors
    assert error.field == "spec.rules[0].filters[0].extensionRef"
