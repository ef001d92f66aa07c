"""Matches as Envoy does them; what it does was seen in tests/node/test_waypoint_simulated.py."""

import pytest

from agent.explain.matching import first_match, matches
from agent.ir.http import HTTPListenerIR, Rule
from agent.ir.request import request
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)

REGEX = "RegularExpression"


def get(target: str = "/", method: str = "GET", host: str = "web", **headers: str) -> object:
    return request(method, host, target, [(name.replace("_", "-"), value) for name, value in headers.items()])


@pytest.mark.parametrize(
    ("kind", "value", "target", "holds"),
    [
        ("Exact", "/a", "/a", True),
        ("Exact", "/a", "/a?b=c", True),
        ("Exact", "/a", "/a/", False),
        ("Exact", "/a", "/A", False),
        ("Exact", "/", "/", True),
        ("PathPrefix", "/", "/", True),
        ("PathPrefix", "/", "//", True),
        ("PathPrefix", "/", "/a/b", True),
        ("PathPrefix", "/a", "/a", True),
        ("PathPrefix", "/a", "/a/", True),
        ("PathPrefix", "/a", "/a/b", True),
        ("PathPrefix", "/a", "/a?b", True),
        ("PathPrefix", "/a", "/ab", False),
        ("PathPrefix", "/a", "/A", False),
        ("PathPrefix", "/a/", "/a", True),
        ("PathPrefix", "/a/", "/a/b", True),
        ("PathPrefix", "/a/", "/ab", False),
        ("PathPrefix", "/a/b", "/a", False),
        ("PathPrefix", "/a%20b", "/a%20b/c", True),
        ("PathPrefix", "/a b", "/a%20b", False),
        (REGEX, "/[0-9]+", "/12", True),
        (REGEX, "/[0-9]+", "/12?a=b", True),
        (REGEX, "/[0-9]+", "/12/", False),
        (REGEX, "[0-9]+", "/12", False),
        (REGEX, "/a|/b", "/b", True),
        (REGEX, "/a|/b", "/bc", False),
        (REGEX, "(?i)/A", "/a", True),
    ],
)
def test_paths(kind: str, value: str, target: str, holds: bool) -> None:
    assert matches(HTTPRouteMatch(HTTPPathMatch(kind, value)), get(target)) is holds


@pytest.mark.parametrize(
    ("name", "kind", "value", "holds"),
    [
        ("x-a", "Exact", "one", True),
        ("X-A", "Exact", "one", True),
        ("x-a", "Exact", "One", False),
        ("x-a", REGEX, "o.e", True),
        ("x-a", REGEX, "o", False),
        ("x-a", REGEX, ".*", True),
        ("x-b", "Exact", "one", False),
        ("x-b", REGEX, ".*", False),
        ("x-empty", "Exact", "", True),
        ("x-none", "Exact", "", False),
        ("host", "Exact", "web", True),
        ("HOST", REGEX, "w.*", True),
        ("x-forwarded-proto", "Exact", "http", True),
    ],
)
def test_headers(name: str, kind: str, value: str, holds: bool) -> None:
    match = HTTPRouteMatch(headers=(HeaderMatch(name, value, kind),))
    assert matches(match, get(x_a="one", x_empty="")) is holds


@pytest.mark.parametrize(("value", "holds"), [("a", True), ("b", True), ("a,b", False), ("c", False)])
def test_one_of_several_values_suffices(value: str, holds: bool) -> None:
    match = HTTPRouteMatch(headers=(HeaderMatch("x", value),))
    assert matches(match, request("GET", "web", "/", [("x", "a"), ("X", "b")])) is holds


@pytest.mark.parametrize(
    ("name", "kind", "value", "query", "holds"),
    [
        ("a", "Exact", "1", "a=1", True),
        ("a", "Exact", "1", "b=2&a=1", True),
        ("a", "Exact", "1", "a=1&a=2", True),
        ("a", "Exact", "1", "a=2&a=1", False),
        ("a", "Exact", "1", "A=1", False),
        ("a", "Exact", "1", "", False),
        ("a", "Exact", "", "a", True),
        ("a", "Exact", "", "a=", True),
        ("a", "Exact", "b=c", "a=b=c", True),
        ("a", "Exact", "1", "a=%31", False),
        ("a", "Exact", "/x?y", "a=/x?y", True),
        ("a", REGEX, "[0-9]", "a=7", True),
        ("a", REGEX, "[0-9]", "a=77", False),
        ("a", REGEX, ".*", "b=1", False),
    ],
)
def test_query_parameters(name: str, kind: str, value: str, query: str, holds: bool) -> None:
    match = HTTPRouteMatch(query_params=(QueryParamMatch(name, value, kind),))
    assert matches(match, get(f"/?{query}")) is holds


@pytest.mark.parametrize(("method", "holds"), [(None, True), ("GET", True), ("POST", False)])
def test_methods(method: str | None, holds: bool) -> None:
    assert matches(HTTPRouteMatch(method=method), get()) is holds


def test_a_connect_has_no_path_to_match() -> None:
    assert not matches(HTTPRouteMatch(), get(method="CONNECT"))


def test_all_conditions_have_to_hold() -> None:
    match = HTTPRouteMatch(
        HTTPPathMatch("Exact", "/a"), (HeaderMatch("x-a", "1"),), (QueryParamMatch("q", "1"),), "GET"
    )
    assert matches(match, get("/a?q=1", x_a="1"))
    assert not any(
        (
            matches(match, get("/b?q=1", x_a="1")),
            matches(match, get("/a?q=2", x_a="1")),
            matches(match, get("/a?q=1", x_a="2")),
            matches(match, get("/a?q=1", "POST", x_a="1")),
        )
    )


@pytest.mark.parametrize(
    ("kind", "service", "method", "path", "holds"),
    [
        ("Exact", "a.B", "Get", "/a.B/Get", True),
        ("Exact", "a.B", "Get", "/a.B/Put", False),
        ("Exact", "a.B", "Get", "/axB/Get", False),
        ("Exact", "a.B", None, "/a.B/Put", True),
        ("Exact", "a.B", None, "/a.BC/Put", False),
        ("Exact", None, "Get", "/any/Get", True),
        ("Exact", None, "Get", "/any/Got", False),
        ("Exact", None, "Get", "/any/more/Get", False),
        ("Exact", None, "Get", "//Get", False),
        (REGEX, "a.*", "Get|Put", "/a.B/Put", True),
        (REGEX, "a.*", "Get|Put", "/b/Put", False),
        (REGEX, None, "G.*", "/b/Get", True),
        (REGEX, "b", None, "/b/Get", True),
        (REGEX, "b", None, "/b/Get/x", False),
    ],
)
def test_grpc_methods(kind: str, service: str | None, method: str | None, path: str, holds: bool) -> None:
    match = GRPCRouteMatch(GRPCMethodMatch(kind, service, method))
    assert matches(match, get(path, "POST")) is holds


def test_a_grpc_match_of_headers_alone() -> None:
    match = GRPCRouteMatch(headers=(HeaderMatch("x-a", "1"),))
    assert matches(match, get("/a/b", "POST", x_a="1"))
    assert not matches(match, get("/a/b", "POST"))


def test_the_first_rule_of_a_listener_decides() -> None:
    first, second = Rule("first", HTTPRouteMatch(HTTPPathMatch("Exact", "/a"))), Rule("second", HTTPRouteMatch())
    rules = HTTPListenerIR("app/web:80", "", 80, False, (first, second))
    assert [first_match(rules, get(path)) for path in ("/a", "/b")] == [first, second]
    assert first_match(HTTPListenerIR("app/web:80", "", 80, False, (first,)), get("/b")) is None
