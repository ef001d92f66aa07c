"""What the simulation says of a request is what the real Envoy does with it."""

from collections.abc import Iterator

import pytest

from agent.explain.answer import Answer, Share, answer
from agent.ir.http import HTTPListenerIR
from agent.ir.request import Headers, request
from agent.model.filters import CORS, Filter, PathModifier
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.translate.filters.header_modifiers import changed
from support.waypoint.client import Answer as Seen
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import (
    NO_ENDPOINTS,
    V1,
    V2,
    any_path,
    changes,
    exact,
    filtered,
    prefix,
    redirects,
    rewrites,
    rule,
    to,
)

pytestmark = pytest.mark.node

FULL, BARE = PathModifier("ReplaceFullPath", "/full"), PathModifier("ReplacePrefixMatch", None, "/")
NEW = PathModifier("ReplacePrefixMatch", None, "/new/")


def cors(*origins: str, **fields: object) -> Filter:
    return Filter("CORS", cors=CORS(allow_origins=origins, **fields))


def having(*headers: HeaderMatch, query: tuple[QueryParamMatch, ...] = ()) -> HTTPRouteMatch:
    return any_path(headers=headers, query_params=query)


def grpc(service: str | None, method: str | None, kind: str = "Exact", **more: object) -> GRPCRouteMatch:
    return GRPCRouteMatch(GRPCMethodMatch(kind, service, method), **more)


REGEX = "RegularExpression"
ROUTE_SETS = {
    "paths": (
        rule(exact("/v2/exact"), to(V2)),
        rule(HTTPRouteMatch(path=HTTPPathMatch(REGEX, "/v[0-9]+/x?")), to(V1)),
        rule(prefix("/v2/"), to(V2)),
        rule(prefix("/a", method="POST"), to(V1)),
    ),
    "headers": (
        rule(having(HeaderMatch("X-Who", "me,you"), HeaderMatch("x-x", ".*", REGEX)), to(V2)),
        rule(having(HeaderMatch("x-who", "me")), to(V1)),
        rule(having(HeaderMatch("host", "shop.*", REGEX)), to(V2)),
        rule(having(HeaderMatch("x-forwarded-proto", "https")), to(V2)),
        rule(having(HeaderMatch("x-empty", "")), to(V1)),
        rule(having(HeaderMatch("accept", "a,b")), to(V1)),
        rule(having(HeaderMatch("cookie", "b")), to(V2)),
        rule(having(HeaderMatch("te", ".*", REGEX)), to(V2)),
        rule(having(HeaderMatch("x-envoy-retry-on", ".*", REGEX)), to(V2)),
    ),
    "queries": (
        rule(having(query=(QueryParamMatch("a", "1"), QueryParamMatch("b", "[0-9]*", REGEX))), to(V2)),
        rule(having(query=(QueryParamMatch("a", "%31"),)), to(V1)),
        rule(having(query=(QueryParamMatch("c", ""),)), to(V1)),
        rule(having(query=(QueryParamMatch("d", "x=y"),)), to(V1)),
    ),
    "rewrites": (
        rule(prefix("/bare"), to(V1), rewrites(BARE)),
        rule(prefix("/new"), to(V1), rewrites(NEW, "other.example")),
        rule(prefix("/full"), to(V1), rewrites(FULL)),
        rule(any_path(), to(V1), rewrites(NEW)),
    ),
    "redirects": (
        rule(prefix("/bare"), (), redirects(path=BARE)),
        rule(prefix("/new"), (), redirects(path=NEW, hostname="other.example", scheme="https")),
        rule(prefix("/full"), (), redirects(path=FULL, port=8443, status_code=308)),
        rule(prefix("/https"), (), redirects(scheme="https")),
        rule(any_path(), (), redirects()),
    ),
    "modifiers": (
        rule(
            prefix("/v2"),
            (filtered(changes("request", set={"x-add": "backend"}, remove=["x-gone"])),),
            changes("request", set={"x-set": "100%"}, add={"x-add": "rule", "x-gone": "rule"}),
            changes("response", set={"x-answer": "yes"}),
        ),
        rule(
            any_path(),
            to(V1),
            changes("request", add={"X-Add": "b", "accept": "c"}, remove=["x-gone"], set={"x-set": "s"}),
        ),
    ),
    "backends": (
        rule(prefix("/new"), (filtered(rewrites(NEW, "other.example"), by=V2),)),
        rule(
            prefix("/full"),
            (filtered(rewrites(FULL)),),
            rewrites(NEW, "all.example"),
            changes("request", set={"x-set": "rule"}),
        ),
        rule(prefix("/https"), (filtered(redirects(scheme="https", status_code=307)),)),
        rule(prefix("/invalid"), (filtered(redirects(), by=None),)),
        rule(any_path(), (filtered(changes("request", add={"x-add": "b"})),), rewrites(NEW)),
    ),
    "grpc": (
        rule(grpc("a.B", "C"), to(V1)),
        rule(grpc("a.B", None, headers=(HeaderMatch("x-who", "me"),)), to(V2)),
        rule(grpc(None, "D"), to(V1)),
        rule(grpc("[xy].*", "E|F", REGEX), to(V2)),
        rule(grpc("z", None, REGEX), to(None)),
    ),
    "cors": (
        rule(prefix("/v2", method="PUT"), to(V2), cors("http://here", "https://*.example")),
        rule(prefix("/a"), to(None), cors("*", allow_headers=("*",))),
        rule(any_path(method="PUT"), to(V1)),
        rule(any_path(), to(V1), cors("https://here:8443")),
    ),
    "refusals": (
        rule(prefix("/invalid"), to(None)),
        rule(prefix("/none"), ()),
        rule(prefix("/empty"), to(NO_ENDPOINTS)),
    ),
}
PATHS = (
    *("/", "/v2", "/v2/", "/v2x", "/V2", "/v2/exact", "/v2/exact/", "/v12/", "/v12/x", "/v12/xx", "/a", "/a/b?c=d"),
    *("/bare", "/bare/", "/bare/x?q=1", "/bare//x", "/barefoot", "/new", "/new/", "/new/x?q=1", "/full", "/full/x?q"),
    *("/https", "/https/x?a=1", "/x?q=1&q=2", "/invalid", "/none", "/empty", "/a%2Fb", "//"),
    *("/a.B/C", "/a.B/CC", "/a.B/D", "/aXB/C", "/a/D", "/a/b/D", "//D", "/x/E", "/xx/F", "/w/E", "/z/y", "/z/y/x"),
)
QUERIES = (
    "?a=1&b=2",
    "?a=1&b=x",
    "?b=2&a=1",
    "?a=1&a=2&b=",
    "?a=2&a=1&b=",
    "?a=%31",
    "?c",
    "?c=",
    "?d=x=y",
    "?A=1",
    "?",
)
HEADERS: tuple[Headers, ...] = (
    (("x-who", "me"),),
    (("X-WHO", "me"), ("X-Who", "you"), ("x-x", "")),
    (("x-who", "ME"),),
    (("x-add", "a"), ("x-set", "old"), ("X-Gone", "c"), ("x-keep", "d")),
    (("x-forwarded-proto", "https"),),
    (("x-empty", ""),),
    (("Accept", "a"), ("accept", "b"), ("Cookie", "a"), ("Cookie", "b"), ("te", "trailers"), ("keep-alive", "x")),
    (
        ("accept", "b"),
        ("te", "gzip"),
        ("x-envoy-retry-on", "5xx"),
        ("X-Forwarded-Client-Cert", "x"),
        ("x-request-id", "1"),
    ),
)
ORIGINS = ("http://here", "http://here:80", "https://a.b.example", "https://here:8443", "http://stranger")
HOSTS = ("shop", "shop:80", "shop:8080", "app.example:443")
REQUESTS = (
    *(("GET", "app", path, ()) for path in PATHS),
    *(("GET", "app", f"/{query}", ()) for query in QUERIES),
    *(("GET", "app", path, headers) for headers in HEADERS for path in ("/", "/v2/x", "/a.B/C", "/a.B/D")),
    *(("GET", host, path, ()) for host in HOSTS for path in ("/", "/https", "/new/x", "/full")),
    *(
        (method, "app", path, (("Origin", origin), *about))
        for method in ("OPTIONS", "PUT")
        for path in ("/v2/x", "/a", "/x")
        for origin in ORIGINS
        for about in ((), (("Access-Control-Request-Method", "PUT"),), (("access-control-request-method", "GET"),))
    ),
    *((method, "app", path, ()) for method in ("POST", "PUT", "OPTIONS") for path in ("/a/b", "/")),
)


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def expected(found: Answer) -> dict[str, object]:
    """What a client and a server see, by the simulation."""
    cors_facts = {"allowed": bool(found.facts.get("originAllowed"))}
    own: Answer | Share = found if found.status is not None else found.shares[0]
    if own.status is not None:
        return {**cors_facts, "status": own.status, "location": [own.location] if own.location else []}
    (share,) = found.shares
    assert share.backend is not None
    if share.backend == NO_ENDPOINTS:
        return {**cors_facts, "status": 503, "location": []}
    answered = changed((), share.response)
    return {
        **cors_facts,
        "server": share.backend.service,
        "target": share.target,
        "host": [share.authority],
        "headers": sorted((name.lower(), value) for name, value in share.headers),
        "answer": [value for name, value in answered if name == "x-answer"],
    }


def observed(seen: Seen) -> dict[str, object]:
    """What a client and a server saw."""
    cors_facts = {"allowed": bool(seen.values("access-control-allow-origin"))}
    if not seen.seen:
        return {**cors_facts, "status": seen.status, "location": seen.values("location")}
    received = [(name.lower(), value) for name, value in seen.seen["headers"]]
    return {
        **cors_facts,
        "server": seen.pod,
        "target": seen.seen["path"],
        "host": seen.sent("host"),
        # How long a body is, is for the two ends of a connection to agree on.
        "headers": sorted(item for item in received if item[0] not in ("host", "content-length")),
        "answer": seen.values("x-answer"),
    }


@pytest.mark.parametrize("name", ROUTE_SETS)
def test_envoy_does_what_is_simulated(node: WaypointNode, name: str) -> None:
    rules = ROUTE_SETS[name]
    is_grpc = isinstance(rules[0].match, GRPCRouteMatch)
    port = node.serve(*rules, grpc=is_grpc)
    differing = {}
    for method, host, path, headers in REQUESTS:
        wanted = expected(
            answer(HTTPListenerIR("app/s:80", "", 80, is_grpc, rules), request(method, host, path, headers))
        )
        found = observed(node.ask(port, path, method=method, host=host, headers=headers))
        if found != wanted:
            differing[method, host, path, headers] = {"simulated": wanted, "observed": found}
    assert differing == {}
