"""Random Routes of one Service port with requests that mean them, and the API's own words on which rule decides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from agent.explain.matching import matches
from agent.ir.request import Request, request
from agent.model.filters import Filter, Header, HeaderFilter
from agent.model.meta import ObjectMeta
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRoute,
    GRPCRouteMatch,
    GRPCRouteRule,
    GRPCRouteSpec,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
    ParentReference,
    QueryParamMatch,
)

AnyRoute = HTTPRoute | GRPCRoute
Match = HTTPRouteMatch | GRPCRouteMatch
SHOWN = "x-rule"
PARENT = ParentReference("web", group="", kind="Service", port=80)

# Each expression with texts that it means, so that requests can be aimed at it.
# What is compared, and texts that it means.
Texts = Mapping[str, tuple[str, ...]]
VALUES: Texts = {"1": ("1",), "2": ("2",), "1,2": ("1,2",), "": ("",)}
EXPRESSIONS: Texts = {"[12]": ("1", "2"), "1.*": ("1", "1,2"), ".*": ("", "2"), "1|3": ("1", "3"), "[^1]+": ("2", "3")}
PATHS = {path: (path,) for path in ("/", "/a", "/a/", "/ab", "/a/b", "/b")}
PREFIXES = {path: (path, f"{path.rstrip('/')}/b", f"{path.rstrip('/')}/", f"{path}b") for path in PATHS}
PATH_EXPRESSIONS: Texts = {
    "/a.*": ("/a", "/ab", "/a/b"),
    "/[ab]+": ("/a", "/ab"),
    "/[^/]*/b": ("/a/b", "//b"),
    "/(a|b)/?": ("/a", "/b/"),
    ".*": ("/a/b/c", "/"),
}
WORDS: Texts = {"a": ("a",), "c": ("c",), "a.B": ("a.B",)}
WORD_EXPRESSIONS: Texts = {"a.*": ("a", "ab", "a.B"), "a|c": ("a", "c"), ".": ("a", "c"), "a\\.B": ("a.B",)}
STAMPS = st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


def _kinds(exact: Texts, expressions: Texts) -> st.SearchStrategy[tuple[Any, ...]]:
    """A type of match with its value."""
    values = st.tuples(st.just("Exact"), st.sampled_from(sorted(exact)))
    return values | st.tuples(st.just("RegularExpression"), st.sampled_from(sorted(expressions)))


def _named(build: type, names: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """At most two matches by name and value, of different names (the API has them as maps)."""
    one = st.builds(
        lambda name, kind: build(name, kind[1], kind[0]), st.sampled_from(names), _kinds(VALUES, EXPRESSIONS)
    )
    return st.lists(one, max_size=2, unique_by=lambda item: item.name.lower()).map(tuple)


HEADERS = _named(HeaderMatch, "xXy")
HTTP_PATHS = st.builds(lambda kind: HTTPPathMatch(*kind), _kinds(PATHS, PATH_EXPRESSIONS)) | st.builds(
    lambda value: HTTPPathMatch("PathPrefix", value), st.sampled_from(sorted(PREFIXES))
)
QUERIES = _named(QueryParamMatch, "qr")


@st.composite
def _grpc_methods(draw: st.DrawFn) -> GRPCMethodMatch:
    """A service, a method, or both, of one type."""
    kind, texts = draw(st.sampled_from([("Exact", WORDS), ("RegularExpression", WORD_EXPRESSIONS)]))
    service, method = draw(st.tuples(*2 * [st.none() | st.sampled_from(sorted(texts))]).filter(any))
    return GRPCMethodMatch(kind, service, method)


def _http_matches(paths: list[HTTPPathMatch]) -> st.SearchStrategy[HTTPRouteMatch]:
    methods = st.sampled_from([None, None, "GET", "POST"])
    return st.builds(HTTPRouteMatch, st.sampled_from(paths), HEADERS, QUERIES, methods)


def _grpc_matches(methods: list[GRPCMethodMatch]) -> st.SearchStrategy[GRPCRouteMatch]:
    return st.builds(GRPCRouteMatch, st.none() | st.sampled_from(methods), HEADERS)


@dataclass(frozen=True)
class Case:
    """Routes of one kind for one port, and requests."""

    routes: tuple[HTTPRoute | GRPCRoute, ...]
    requests: tuple[Request, ...]


def shows(text: str) -> Filter:
    """What a rule does: its answer, whoever gives it, has this in a header."""
    change = HeaderFilter(set=(Header(SHOWN, text),))
    return Filter("ResponseHeaderModifier", response_header_modifier=change)


def http_route(meta: ObjectMeta, rules: list[tuple[HTTPRouteMatch, ...]]) -> HTTPRoute:
    """An HTTPRoute whose rules show their names. Without backends they answer 500."""
    found = (HTTPRouteRule("", item, (shows(f"{meta.name}/{number}"),)) for number, item in enumerate(rules))
    return HTTPRoute(meta, HTTPRouteSpec((PARENT,), (), tuple(found)))


def grpc_route(meta: ObjectMeta, rules: list[tuple[GRPCRouteMatch, ...]]) -> GRPCRoute:
    """The same for a GRPCRoute, with 503."""
    found = (GRPCRouteRule("", item, (shows(f"{meta.name}/{number}"),)) for number, item in enumerate(rules))
    return GRPCRoute(meta, GRPCRouteSpec((PARENT,), (), tuple(found)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to four Routes of one kind, some as old as others, ten requests that mean them and one that may not."""
    kinds: list[tuple[Any, ...]]
    kinds = [(http_route, HTTP_PATHS, _http_matches), (grpc_route, _grpc_methods(), _grpc_matches)]
    build, parts, matching = draw(st.sampled_from(kinds))
    # Few paths, so that more than the path has to decide.
    one = matching(draw(st.lists(parts, min_size=1, max_size=3)))
    rules = st.lists(st.lists(one, max_size=3).map(tuple), min_size=1, max_size=3)
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    routes = tuple(build(ObjectMeta(name, "app", creation_timestamp=draw(STAMPS)), draw(rules)) for name in names)
    targets = [match for _, _, _, match in candidates(routes)]
    requests = draw(st.lists(_aimed(st.sampled_from(targets)), min_size=10, max_size=10))
    return Case(routes, (*requests, request("PUT", "web", "/c/d", ())))


@st.composite
def _aimed(draw: st.DrawFn, targets: st.SearchStrategy[Match]) -> Request:
    """A request for one of the matches, with what another asks for besides."""
    match, other = draw(targets), draw(targets)
    method = getattr(match, "method", None) if isinstance(match, HTTPRouteMatch) else "POST"
    headers = {item.name.lower(): draw(_meant(item)) for item in (*other.headers, *match.headers)}
    query = {item.name: draw(_meant(item)) for one in (other, match) for item in getattr(one, "query_params", ())}
    path = draw(_paths(match)) + ("?" + "&".join("=".join(item) for item in query.items()) if query else "")
    return request(method or draw(st.sampled_from(["GET", "POST", "PUT"])), "web", path, headers.items())


def _meant(item: HeaderMatch | QueryParamMatch) -> st.SearchStrategy[str]:
    return st.sampled_from((VALUES if item.type == "Exact" else EXPRESSIONS)[item.value])


def _paths(match: Match) -> st.SearchStrategy[str]:
    if isinstance(match, HTTPRouteMatch):
        kinds: dict[str, Texts] = {"Exact": PATHS, "PathPrefix": PREFIXES, "RegularExpression": PATH_EXPRESSIONS}
        texts = kinds[match.path.type]
        return st.sampled_from(texts[match.path.value])
    words = WORD_EXPRESSIONS if match.method and match.method.type == "RegularExpression" else WORDS
    named = (match.method.service, match.method.method) if match.method else (None, None)
    return st.tuples(*(st.sampled_from(words[name] if name else ("a", "c", "d")) for name in named)).map(
        lambda parts: "/" + "/".join(parts)
    )


def candidates(routes: tuple[HTTPRoute | GRPCRoute, ...]) -> Iterator[tuple[AnyRoute, int, int, Match]]:
    """Every match with its Route, rule and position; a rule without matches means every request."""
    for route in routes:
        rules: Sequence[HTTPRouteRule | GRPCRouteRule] = route.spec.rules
        for index, rule in enumerate(rules):
            everything = GRPCRouteMatch() if isinstance(route, GRPCRoute) else HTTPRouteMatch()
            for position, match in enumerate(rule.matches or (everything,)):
                yield route, index, position, match


# What the API compares, one after the other; the greater wins.
HTTP_CLAIMS = ("exact path", "expression", "path", "method", "headers", "query parameters")
GRPC_CLAIMS = ("service", "method", "headers", "exact names")


def claims(match: Match) -> tuple[tuple[str, int], ...]:
    """HTTPRouteRule.matches and GRPCRouteRule.matches, with weft's word on expressions, which the API leaves open."""
    if isinstance(match, HTTPRouteMatch):
        kind, value = match.path.type, match.path.value
        length = len(value.rstrip("/") if kind == "PathPrefix" else value)
        found = (kind == "Exact", kind == "RegularExpression", length, match.method is not None)
        return tuple(zip(HTTP_CLAIMS, (*found, len(match.headers), len(match.query_params)), strict=True))
    method = match.method or GRPCMethodMatch()
    lengths = (len(method.service or ""), len(method.method or ""))
    return tuple(zip(GRPC_CLAIMS, (*lengths, len(match.headers), method.type == "Exact"), strict=True))


def contest(case: Case, made: Request) -> list[tuple[tuple[tuple[str, object], ...], str]]:
    """Every match that holds, the winner first: what it brings forward, smallest first, and its rule's name."""
    found = []
    for route, index, position, match in candidates(case.routes):
        if matches(match, made):
            stamp = route.metadata.creation_timestamp
            better = tuple((name, -value) for name, value in claims(match))
            # No time of creation: it has not been created yet, so it is the youngest.
            age = (("age", (not stamp, stamp)), ("name", route.metadata.name), ("position", (index, position)))
            found.append(((*better, *age), f"{route.metadata.name}/{index}"))
    return sorted(found)


def decided_by(ranked: list[tuple[tuple[tuple[str, object], ...], str]]) -> str:
    """By what the winner is ahead of the second."""
    if len(ranked) < 2:
        return "no rival" if ranked else "no match"
    return next(name for (name, one), (_, two) in zip(ranked[0][0], ranked[1][0], strict=True) if one != two)
