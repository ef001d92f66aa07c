"""The simulation reads listener IRs by itself; here it is compared with the RouteConfiguration that Envoy gets.

This module evaluates its matches, rewrites, redirects and direct responses as Envoy documents them.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import re2
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.explain.answer import Answer, answer
from agent.explain.matching import matches
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.request import Request, request
from agent.model.filters import Filter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.waypoint.xds.match import route_match
from agent.waypoint.xds.route import route_configuration

Json = Mapping[str, Any]

ELEMENTS = st.sampled_from(["", "a", "b", "ab", "a.b", "A"])
PATHS = st.lists(ELEMENTS, max_size=3).map(lambda parts: "/" + "/".join(parts))
NAMES = st.sampled_from(["x", "X", "y", "Host"])
VALUES = st.sampled_from(["a", "b", "ab", "a,b", ""])
EXPRESSIONS = st.sampled_from(["a", "a.*", "[ab]+", "/a.*", "/[^/]*", "a|b", ".*"])
KINDS = st.sampled_from(["Exact", "RegularExpression"])


def _matching(build: Any, *more: Any) -> st.SearchStrategy[Any]:
    """A match by value or by regular expression."""
    by_value = st.builds(build, *more, VALUES, st.just("Exact"))
    return by_value | st.builds(build, *more, EXPRESSIONS, st.just("RegularExpression"))


HEADERS = st.lists(_matching(HeaderMatch, NAMES), max_size=2).map(tuple)
QUERIES = st.lists(_matching(QueryParamMatch, NAMES), max_size=2).map(tuple)
HTTP_PATHS = st.builds(HTTPPathMatch, st.sampled_from(["Exact", "PathPrefix"]), PATHS) | st.builds(
    HTTPPathMatch, st.just("RegularExpression"), EXPRESSIONS
)
HTTP = st.builds(HTTPRouteMatch, HTTP_PATHS, HEADERS, QUERIES, st.sampled_from([None, "GET", "POST"]))
WORDS = st.sampled_from(["a", "b", "ab", "a.b"])
METHODS = st.tuples(st.none() | WORDS, st.none() | WORDS).filter(any)
GRPC = st.builds(
    GRPCRouteMatch,
    st.none() | st.builds(lambda kind, names: GRPCMethodMatch(kind, *names), KINDS, METHODS),
    HEADERS,
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
TARGETS = st.tuples(PATHS, st.lists(st.tuples(NAMES, st.sampled_from(["", "=", "=a", "=b", "=a=b"])), max_size=3)).map(
    lambda item: item[0] + ("?" + "&".join("".join(pair) for pair in item[1]) if item[1] else "")
)
AUTHORITIES = st.sampled_from(["a", "web.app", "web.app:80", "web.app:8080", "[fd00::1]", "[fd00::1]:81"])
REQUESTS = st.builds(request, st.sampled_from(["GET", "POST"]), AUTHORITIES, TARGETS, PAIRS)
MODIFIERS = st.builds(PathModifier, st.just("ReplaceFullPath"), PATHS) | st.builds(
    PathModifier, st.just("ReplacePrefixMatch"), st.none(), PATHS
)
PREFIXES = st.builds(HTTPRouteMatch, st.builds(HTTPPathMatch, st.just("PathPrefix"), PATHS))
REDIRECTS = st.builds(
    RequestRedirect,
    st.sampled_from([None, "http", "https"]),
    st.sampled_from([None, "there.example"]),
    st.none() | MODIFIERS,
    st.sampled_from([None, 80, 443, 8080]),
    st.sampled_from([301, 302]),
)
BACKEND = BackendPort("app", "web", 80)


def holds(wanted: Json, value: str) -> bool:
    """envoy.type.matcher.v3.StringMatcher."""
    if "exact" in wanted:
        return bool(value == wanted["exact"])
    if "suffix" in wanted:
        return value.endswith(wanted["suffix"])
    return re2.fullmatch(wanted["safe_regex"]["regex"], value) is not None


def header_holds(wanted: Json, made: Request) -> bool:
    """envoy.config.route.v3.HeaderMatcher: any of several values."""
    values = (made.method,) if wanted["name"] == ":method" else made.values(wanted["name"])
    found = any(holds(wanted["string_match"], value) for value in values)
    return bool(values) and found is not wanted.get("invert_match", False)


def query_holds(wanted: Json, made: Request) -> bool:
    """envoy.config.route.v3.QueryParameterMatcher: the first value."""
    for part in made.query.split("&"):
        name, _, value = part.partition("=")
        if name == wanted["name"]:
            return holds(wanted["string_match"], value)
    return False


def path_holds(wanted: Json, path: str) -> bool:
    """The path_specifier of envoy.config.route.v3.RouteMatch."""
    if "path" in wanted:
        return bool(path == wanted["path"])
    if "prefix" in wanted:
        return path.startswith(wanted["prefix"])
    if "path_separated_prefix" in wanted:
        prefix = wanted["path_separated_prefix"]
        return path.startswith(prefix) and path[len(prefix) :][:1] in ("", "/")
    return holds(wanted, path)


def envoy_matches(wanted: Json, made: Request) -> bool:
    """envoy.config.route.v3.RouteMatch: everything holds."""
    return (
        path_holds(wanted, made.path)
        and all(header_holds(item, made) for item in wanted.get("headers", ()))
        and all(query_holds(item, made) for item in wanted.get("query_parameters", ()))
    )


def envoy_path(action: Json, match: Json, path: str) -> str:
    """prefix_rewrite and regex_rewrite of a RouteAction or a RedirectAction."""
    if "prefix_rewrite" in action:
        matched = match.get("path_separated_prefix", match.get("prefix", ""))
        return str(action["prefix_rewrite"]) + path[len(matched) :]
    if "regex_rewrite" in action:
        pattern = action["regex_rewrite"]["pattern"]["regex"]
        return re2.sub(pattern, action["regex_rewrite"]["substitution"], path)
    return str(action.get("path_redirect", path))


def envoy_location(action: Json, match: Json, made: Request) -> str:
    """envoy.config.route.v3.RedirectAction: a new port takes the place of the Host's."""
    host = action.get("host_redirect", made.authority)
    if "port_redirect" in action:
        name, _, number = host.rpartition(":")
        host = f"{name if number.isdigit() and name else host}:{action['port_redirect']}"
    path = envoy_path(action, match, made.path)
    return f"{action['scheme_redirect']}://{host.removesuffix(':80')}{path}{made.target[len(made.path) :]}"


def simulated(rule: Rule, made: Request) -> tuple[Answer, Json]:
    """What the simulation says, and the route that Envoy would take."""
    rules = HTTPListenerIR("app/web:80", "", 80, False, (rule,))
    (host,) = route_configuration(rules, {}, {})["virtual_hosts"]
    return answer(rules, made), next(item for item in host["routes"] if envoy_matches(item["match"], made))


@given(HTTP | GRPC, REQUESTS)
def test_a_match_holds_when_what_envoy_is_told_holds(match: HTTPRouteMatch | GRPCRouteMatch, made: Request) -> None:
    assert matches(match, made) == envoy_matches(route_match(match), made)


@given(GRPC, st.tuples(WORDS, WORDS), PAIRS)
def test_a_grpc_match_too(match: GRPCRouteMatch, called: tuple[str, str], headers: list[tuple[str, str]]) -> None:
    made = request("POST", "a", "/".join(("", *called)), headers)
    assert matches(match, made) == envoy_matches(route_match(match), made)


@given(PREFIXES, MODIFIERS, st.sampled_from([None, "there.example"]), REQUESTS)
def test_a_rewrite_is_what_envoy_is_told(
    match: HTTPRouteMatch, path: PathModifier, host: str | None, made: Request
) -> None:
    rewrite = Filter("URLRewrite", url_rewrite=URLRewrite(host, path))
    found, envoy_route = simulated(Rule("r", match, (rewrite,), (WeightedBackend(BACKEND, 1),)), made)
    if found.rule is None:
        assert envoy_route["direct_response"]["status"] == found.status == 404
        return
    (share,) = found.shares
    assert (
        share.target
        == envoy_path(envoy_route["route"], envoy_route["match"], made.path) + made.target[len(made.path) :]
    )
    assert share.authority == envoy_route["route"].get("host_rewrite_literal", made.authority)


@given(PREFIXES, REDIRECTS, REQUESTS)
def test_a_redirect_is_what_envoy_is_told(match: HTTPRouteMatch, redirect: RequestRedirect, made: Request) -> None:
    found, envoy_route = simulated(Rule("r", match, (Filter("RequestRedirect", request_redirect=redirect),)), made)
    if found.rule is None:
        assert envoy_route["direct_response"]["status"] == found.status == 404
        return
    assert found.location.partition("?")[0].replace(":80/", "/") == envoy_location(
        envoy_route["redirect"], envoy_route["match"], made
    ).partition("?")[0].replace(":80/", "/")
    assert {301: "MOVED_PERMANENTLY", 302: "FOUND"}[found.status or 0] == envoy_route["redirect"]["response_code"]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 1_000_000), st.booleans()), min_size=2, max_size=16), REQUESTS)
def test_backends_with_filters_of_their_own_get_their_shares(
    backends: list[tuple[bool, int, bool]], made: Request
) -> None:
    own = (Filter("URLRewrite", url_rewrite=URLRewrite("own")),)
    weighted = tuple(WeightedBackend(BACKEND if is_valid else None, n, own * has) for is_valid, n, has in backends)
    assume(any(item.filters for item in weighted) and any(item.backend for item in weighted))
    rules = HTTPListenerIR("app/web:80", "", 80, False, (Rule("r", HTTPRouteMatch(), (), weighted),))
    *parts, _ = route_configuration(rules, {}, {})["virtual_hosts"][0]["routes"]
    fractions = [part["match"].get("runtime_fraction") for part in parts]
    assert fractions.pop() is None
    bounds = [0, *(item["default_value"]["numerator"] for item in fractions), 1_000_000]
    shares = answer(rules, made).shares
    for part, (low, high), share in zip(parts, pairwise(bounds), shares, strict=True):
        assert abs((high - low) / 1_000_000 - share.part) <= 1e-6
        assert part.get("direct_response", {}).get("status") == share.status
        assert part.get("route", {}).get("host_rewrite_literal", made.authority) == (share.authority or made.authority)


@given(HTTP, st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=4), st.booleans(), REQUESTS)
def test_shares_are_whole_and_refusals_are_the_kind_s(
    match: HTTPRouteMatch, backends: list[tuple[bool, int]], grpc: bool, made: Request
) -> None:
    weighted = tuple(WeightedBackend(BACKEND if valid else None, weight) for valid, weight in backends)
    found = answer(HTTPListenerIR("app/web:80", "", 80, grpc, (Rule("r", match, (), weighted),)), made)
    refusal = 503 if grpc else 500
    if found.shares:
        assert sum(share.part for share in found.shares) == 1
        assert {share.status for share in found.shares if share.backend is None} <= {refusal}
    else:
        assert found.status == (404 if found.rule is None else refusal)
