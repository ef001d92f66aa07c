"""CORS: who of another origin may ask, answered by the waypoint."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from agent.model.filters import CORS, Filter
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.plan.resources import Json

# The listener's filter, which does nothing for routes without a policy.
NAME = "cors"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"
POLICY = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
ANY = ("*",)
PORTS = {"http": "80", "https": "443"}
# Any host, and any labels in front of a domain.
HOST, LABELS = r"(?:[^/:]+|\[[^/\]]+\])", r"[^/:]+"
_ORIGIN = re.compile(r"(https?)://([^:]+)(?::([0-9]+))?")


def cors_routes(base: Json, filters: tuple[Filter, ...], match: HTTPRouteMatch | GRPCRouteMatch) -> Iterator[Json]:
    """A rule's route once for each policy that it needs; just the route where there is no CORS filter.

    A preflight is an OPTIONS request about another method, so it belongs to the rule for that method. And where every
    header is allowed, Envoy repeats those that are asked for; asked for none, it would repeat nothing in a header
    that must not be there then (HTTPCORSFilter.allowHeaders).
    """
    cors = next((item.cors for item in filters if item.cors is not None), None)
    if cors is None:
        yield base
        return
    method = match.method if isinstance(match, HTTPRouteMatch) else None
    for route in (*([_preflight(base, method)] if method is not None else ()), base):
        if cors.allow_headers == ANY:
            no_headers = {"name": "access-control-request-headers", "present_match": True, "invert_match": True}
            yield _with_policy(_matching(route, no_headers), _policy(replace(cors, allow_headers=())))
        yield _with_policy(route, _policy(cors))


def _preflight(base: Json, method: str) -> Json:
    """The route for preflights about a method, instead of for that method."""
    others = [item for item in base["match"]["headers"] if item["name"] != ":method"]
    asked = {"name": "access-control-request-method", "string_match": {"exact": method}}
    origin = {"name": "origin", "present_match": True}
    verb = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    return {**base, "match": {**base["match"], "headers": [*others, verb, origin, asked]}}


def _matching(route: Json, header: Json) -> Json:
    return {**route, "match": {**route["match"], "headers": [*route["match"].get("headers", ()), header]}}


def _with_policy(route: Json, policy: Json) -> Json:
    return {**route, "typed_per_filter_config": {**route.get("typed_per_filter_config", {}), NAME: policy}}


def _policy(cors: CORS) -> dict[str, Any]:
    """Envoy answers with the very origin, and with the very method and headers where all are allowed: `*` would not
    do together with credentials. Headers to expose it could not enumerate: then none is better than `*`.
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
        # A preflight of a stranger is answered too, without leave: it is no business of the server's.
        "forward_not_matching_preflights": False,
    }


def origin_regex(origin: str) -> str:
    """The origins that an item of `allowOrigins` means. The scheme's own port may be said or not."""
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
