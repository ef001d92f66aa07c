"""CORS: which scripts of other origins may ask; the waypoint answers their preflights itself (HTTPCORSFilter)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from msgspec.structs import replace as with_fields

from agent.ir.request import Request
from agent.model.filters import CORS, Filter
from agent.model.limits import HEADER, Violation, too_many, twice
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, Fact, FilterPlace, HTTPFilter, Part, RequestState
from agent.translate.regex import full_match

NAME = "cors"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"
POLICY = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
ORIGIN, REQUEST_METHOD, REQUEST_HEADERS = "origin", "access-control-request-method", "access-control-request-headers"
PREFLIGHT = 200
ANY = ("*",)
PORTS = {"http": "80", "https": "443"}
# Any host, and any labels in front of a domain.
HOST, LABELS = r"(?:[^/:]+|\[[^/\]]+\])", r"[^/:]+"
_ORIGIN = re.compile(r"(https?)://([^:]+)(?::([0-9]+))?")

# What the schema allows in each list: name, how many, what each has to be, whether `*` has to be alone.
_ORIGINS = re.compile(r"(?=.{1,253}$)(?:\*|https?://(?:(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(?::[0-9]{1,5})?)")
_METHODS = re.compile(r"GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|\*")
_LISTS = (
    ("allowOrigins", 64, _ORIGINS, True),
    ("allowMethods", 9, _METHODS, True),
    ("allowHeaders", 64, HEADER, True),
    ("exposeHeaders", 64, HEADER, False),
)


class CORSFilter(HTTPFilter[CORS]):
    """Envoy sends a redirect before it evaluates CORS, and evaluates CORS before it chooses a backend."""

    type = "CORS"
    places = FilterPlace.HTTP_RULE
    excludes = frozenset({"RequestRedirect"})
    before_backend = True
    chain = ({"name": NAME, "typed_config": {"@type": TYPE}, "disabled": True},)
    messages = ("envoy.extensions.filters.http.cors.v3.cors_pb2",)
    facts = (Fact("originAllowed", "origin", lambda allowed: "allowed" if allowed else "not allowed"),)

    def config(self, item: Filter) -> CORS | None:
        return item.cors

    def violations(self, field: str, config: CORS) -> Iterator[Violation]:
        lists = (config.allow_origins, config.allow_methods, config.allow_headers, config.expose_headers)
        for (name, most, pattern, alone), items in zip(_LISTS, lists, strict=True):
            where = f"{field}.{name}"
            yield from too_many(where, items, most)
            yield from twice(where, items)
            if alone and "*" in items and len(items) > 1:
                yield where, "* stands alone"
            for position, item in enumerate(items):
                if not pattern.fullmatch(item):
                    yield f"{where}[{position}]", f"{item[:80]!a} is none of {name}"

    def other_match(
        self, config: CORS, match: HTTPRouteMatch | GRPCRouteMatch, request: Request
    ) -> HTTPRouteMatch | None:
        """A preflight is an OPTIONS request about another method: the rule for that method answers it."""
        method = match.method if isinstance(match, HTTPRouteMatch) else None
        about = method is not None and is_preflight(request) and method in request.values(REQUEST_METHOD)
        return with_fields(match, method=None) if isinstance(match, HTTPRouteMatch) and about else None

    def render(self, route: EnvoyRoute, configs: Sequence[CORS], part: Part) -> Iterable[EnvoyRoute]:
        """A route for each policy that the rule needs, and one for its preflights where it is for one method.

        Where every header is allowed, Envoy copies the requested headers to the response. Where none is requested, it
        would send the header empty, which must be absent then (HTTPCORSFilter.allowHeaders).
        """
        if not configs:
            yield route
            return
        (cors, *_), match = configs, part.rule.match
        method = match.method if isinstance(match, HTTPRouteMatch) else None
        for one in (*([_preflight(route, method)] if method is not None else ()), route):
            if cors.allow_headers == ANY:
                no_headers = one.matching({"name": REQUEST_HEADERS, "present_match": True, "invert_match": True})
                yield no_headers.configured(NAME, _policy(with_fields(cors, allow_headers=())))
            yield one.configured(NAME, _policy(cors))

    def evaluate(self, state: RequestState, configs: Sequence[CORS], part: Part) -> RequestState:
        """Envoy's filter does not act on responses of the waypoint itself (measured on 1.40)."""
        if not configs or state.status is not None or not state.original.values(ORIGIN):
            return state
        judged = replace(state, facts={**state.facts, "originAllowed": _allows(configs[0], state.original)})
        return replace(judged, status=PREFLIGHT, response=()) if is_preflight(state.original) else judged


def is_preflight(request: Request) -> bool:
    """Whether the request is a preflight of a browser (Fetch, "CORS-preflight request")."""
    has_preflight_headers = bool(request.values(ORIGIN)) and any(request.values(REQUEST_METHOD))
    return request.method == "OPTIONS" and has_preflight_headers


def _allows(cors: CORS, request: Request) -> bool:
    """Whether scripts of the request's origin may send it."""
    expressions = [origin_regex(item) for item in cors.allow_origins]
    return any(full_match(expression, origin) for expression in expressions for origin in request.values(ORIGIN))


def _preflight(route: EnvoyRoute, method: str) -> EnvoyRoute:
    """The route for preflights about a method, made from the route for that method."""
    others = [item for item in route.match["headers"] if item["name"] != ":method"]
    verb = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    origin = {"name": ORIGIN, "present_match": True}
    requested = {"name": REQUEST_METHOD, "string_match": {"exact": method}}
    return replace(route, match={**route.match, "headers": [*others, verb, origin, requested]})


def _policy(cors: CORS) -> dict[str, Any]:
    """Envoy's CorsPolicy. The response names the request's origin, method and headers where all are allowed, because
    `*` is not valid together with credentials. Envoy cannot enumerate headers to expose: with credentials `*` is left
    out.
    """
    lists = {
        "allow_methods": cors.allow_methods,
        "allow_headers": cors.allow_headers,
        "expose_headers": [name for name in cors.expose_headers if name != "*" or not cors.allow_credentials],
    }
    return {
        "@type": POLICY,
        "allow_origin_string_match": [{"safe_regex": {"regex": origin_regex(item)}} for item in cors.allow_origins],
        **{name: ", ".join(items) for name, items in lists.items() if items},
        "max_age": str(cors.max_age),
        "allow_credentials": bool(cors.allow_credentials),
        # Envoy also answers preflights of other origins, without permission; the server does not get them.
        "forward_not_matching_preflights": False,
    }


def origin_regex(origin: str) -> str:
    """The origins that an item of `allowOrigins` means. The scheme's own port may be named or not."""
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None:
        return ".*"
    scheme, host, port = found.groups()
    if host == "*":
        name = HOST
    elif host.startswith("*."):
        name = LABELS + _literal(host[1:])
    else:
        name = _literal(host)
    usual = PORTS[scheme]
    return f"{scheme}://{name}" + (f"(?::{usual})?" if port in (None, usual) else f":{port}")


def _literal(host: str) -> str:
    """Host names consist of letters, digits, `-` and `.`."""
    return host.replace(".", r"\.")
