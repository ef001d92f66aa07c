"""ExternalAuth: what of its fields cannot be done, what Envoy gets, and what the simulation makes of it."""

from typing import Any

import pytest

from agent.ir.http import BackendPort, Rule
from agent.ir.request import Request
from agent.model.filters import BackendObjectReference, ExternalAuth, Filter, ForwardBody, GRPCAuth, HTTPAuth
from agent.model.routes import HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, FilterPlace, Part, RequestState
from agent.translate.filters.check import filter_errors, filter_violations
from agent.translate.filters.external_auth import MAX_BODY, NAME, Authorizer
from agent.translate.filters.registry import evaluated, rendered

BASE = EnvoyRoute({"prefix": "/"}, "route", {"cluster": "c"})
REF = BackendObjectReference("auth", port=80)
BACKEND = BackendPort("app", "auth", 80)
FIELD = "filters[0].externalAuth"


def external(protocol: str = "HTTP", size: int = 0, grpc: GRPCAuth | None = None, **http: Any) -> Filter:
    settings = HTTPAuth(**http) if grpc is None else None
    return Filter("ExternalAuth", external_auth=ExternalAuth(protocol, REF, grpc, settings, ForwardBody(size)))


def part(item: Filter, *resolved: Authorizer) -> Part:
    return Part(Rule("r", HTTPRouteMatch(), (item,), resolved=resolved), 80)


def ext_authz(route: EnvoyRoute) -> Any:
    """The settings of Envoy's filter in a route's."""
    run = route.configs[NAME]["xds_matcher"]["on_no_match"]["action"]["typed_config"]
    return run["typed_config"]["typed_config"]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (external("TCP"), "protocol"),
        (external("HTTP", grpc=GRPCAuth()), "grpc"),
        (external("GRPC"), "http"),
        (external(path="a?b"), "http.path"),
        (external(path="/" + "a" * 1024), "http.path"),
        (external(allowed_headers=("a", "a")), "http.allowedHeaders[1]"),
        (external(allowed_response_headers=tuple(map(str, range(65)))), "http.allowedResponseHeaders"),
        (external("GRPC", grpc=GRPCAuth(tuple(map(str, range(65))))), "grpc.allowedHeaders"),
    ],
)
def test_what_the_schema_forbids(item: Filter, field: str) -> None:
    assert f"{FIELD}.{field}" in [name for name, _ in filter_violations("filters", (item,))]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (external(path="a/../b"), "http.path"),
        (external(path="/%2e%2E"), "http.path"),
        (external(allowed_headers=("a b",)), "http.allowedHeaders[0]"),
        (external("GRPC", grpc=GRPCAuth(("x", ":path"))), "grpc.allowedHeaders[1]"),
        (external(allowed_response_headers=("Transfer-Encoding",)), "http.allowedResponseHeaders[0]"),
        (external(allowed_response_headers=("host",)), "http.allowedResponseHeaders[0]"),
        (external(size=MAX_BODY + 1), "forwardBody.maxSize"),
    ],
)
def test_what_cannot_be_done(item: Filter, field: str) -> None:
    assert [(error.reason, error.field) for error in filter_errors("filters", (item,), FilterPlace.HTTP_RULE)] == [
        ("UnsupportedValue", f"{FIELD}.{field}")
    ]


@pytest.mark.parametrize("path", ["", "/", "/a/b/", "a.b/..c", "%41"])
def test_paths_that_can(path: str) -> None:
    item = external(path=path, size=MAX_BODY)
    assert [*filter_violations("filters", (item,)), *filter_errors("filters", (item,), FilterPlace.HTTP_RULE)] == []


@pytest.mark.parametrize(("path", "prefix"), [("", None), ("/", None), ("a/", "/a"), ("//a/b", "/a/b")])
def test_a_path_prefix_begins_with_one_slash_and_ends_with_none(path: str, prefix: str | None) -> None:
    (route,) = rendered(BASE, part(external(path=path), Authorizer(BACKEND)))
    assert ext_authz(route)["http_service"].get("path_prefix") == prefix


def test_no_body_is_buffered_unless_asked() -> None:
    (without,) = rendered(BASE, part(external(), Authorizer(BACKEND)))
    (with_body,) = rendered(BASE, part(external(size=7), Authorizer(BACKEND)))
    assert "with_request_body" not in ext_authz(without)
    assert ext_authz(with_body)["with_request_body"] == {"max_request_bytes": 7}


def test_without_a_server_nothing_is_forwarded() -> None:
    (route,) = rendered(BASE, part(external()))
    assert (route.action, route.settings, route.configs) == ("direct_response", {"status": 500}, {})


def test_the_simulation_names_the_server_or_says_500() -> None:
    request = Request("GET", "web.app")
    state = RequestState(request, request)
    assert evaluated(state, part(external(), Authorizer(BACKEND))).facts == {"externalAuth": BACKEND.cluster}
    assert evaluated(state, part(external())).status == 500
