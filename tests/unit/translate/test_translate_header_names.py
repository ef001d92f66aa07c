"""Names of headers that belong to a message's framing or to one connection are not for Routes to change."""

import pytest

from agent.model.filters import Filter, Header, HeaderFilter
from agent.model.routes import (
    AnyRoute,
    FilteredBackendRef,
    GRPCRouteRule,
    HTTPRouteRule,
    SessionPersistence,
)
from agent.translate.routes.validate import check
from support.translate import grpc_route, http_route

REFUSED = (
    *("content-length", "transfer-encoding", "trailer", "te", "expect"),
    *("connection", "proxy-connection", "keep-alive", "upgrade", "http2-settings", "host"),
)
# For the next proxy, or no framing at all.
TAKEN = ("proxy-authorization", "proxy-authenticate", "content-type", "content-encoding", "x-te", "via", "date")


def change(kind: str, name: str) -> HeaderFilter:
    return HeaderFilter(remove=(name,)) if kind == "remove" else HeaderFilter(**{kind: (Header(name, "a"),)})


def field_of(kind: str) -> str:
    return "remove[0]" if kind == "remove" else f"{kind}[0].name"


def only_error(route: AnyRoute) -> tuple[str, str] | None:
    found = check(route).errors
    return (found[0][1].reason, found[0][1].field) if found else None


@pytest.mark.parametrize("name", [spelled for name in REFUSED for spelled in (name, name.title())])
@pytest.mark.parametrize("kind", ["set", "add", "remove"])
def test_framing_headers_are_refused_in_both_directions_of_rules_and_backends(kind: str, name: str) -> None:
    for direction in ("request", "response"):
        item = Filter(
            f"{direction.title()}HeaderModifier",
            **{f"{direction}_header_modifier": change(kind, name)},
        )
        end = f"{direction}HeaderModifier.{field_of(kind)}"
        own = (FilteredBackendRef("web", port=80, filters=(item,)),)
        of_backend = ("UnsupportedValue", f"spec.rules[0].backendRefs[0].filters[0].{end}")
        of_rule = ("UnsupportedValue", f"spec.rules[0].filters[0].{end}")
        assert only_error(http_route(HTTPRouteRule(filters=(item,)))) == of_rule
        assert only_error(http_route(HTTPRouteRule(backend_refs=own))) == of_backend
        assert only_error(grpc_route(GRPCRouteRule(filters=(item,)))) == of_rule
        assert only_error(grpc_route(GRPCRouteRule(backend_refs=own))) == of_backend


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("kind", ["set", "add", "remove"])
def test_other_headers_are_for_routes_to_change(kind: str, name: str) -> None:
    item = Filter("RequestHeaderModifier", request_header_modifier=change(kind, name))
    assert only_error(http_route(HTTPRouteRule(filters=(item,)))) is None


@pytest.mark.parametrize("name", REFUSED)
def test_a_session_s_header_is_none_of_them_and_its_cookie_may_be(name: str) -> None:
    header, cookie = (SessionPersistence(name.upper(), type=kind) for kind in ("Header", "Cookie"))
    expected = ("UnsupportedValue", "spec.rules[0].sessionPersistence.sessionName")
    assert only_error(http_route(HTTPRouteRule(session_persistence=header))) == expected
    assert only_error(grpc_route(GRPCRouteRule(session_persistence=header))) == expected
    assert only_error(http_route(HTTPRouteRule(session_persistence=cookie))) is None


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\x01", "\x7f"])
def test_a_header_s_value_has_no_control_characters(value: str) -> None:
    item = Filter("RequestHeaderModifier", request_header_modifier=HeaderFilter(set=(Header("x", value),)))
    expected = ("UnsupportedValue", "spec.rules[0].filters[0].requestHeaderModifier.set[0].value")
    assert only_error(http_route(HTTPRouteRule(filters=(item,)))) == expected


def test_a_header_s_value_may_have_a_tab_and_other_letters() -> None:
    item = Filter("RequestHeaderModifier", request_header_modifier=HeaderFilter(set=(Header("x", "a\tb é"),)))
    assert only_error(http_route(HTTPRouteRule(filters=(item,)))) is None
