"""RequestRedirect: the Location that a client is sent to."""

from collections.abc import Iterator
from typing import Any

from agent.model.filters import RequestRedirect
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.plan.resources import Json
from agent.translate.xds.rewrite import full_path, replaced_prefix

CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
WELL_KNOWN = {"http": 80, "https": 443}
# Envoy takes `:80` away by itself where it says nothing.
UNUSUAL_PORT = (
    {"name": ":authority", "string_match": {"safe_regex": {"regex": ".+:[0-9]+"}}},
    {"name": ":authority", "string_match": {"suffix": ":80"}, "invert_match": True},
)


def redirects(
    base: Json, redirect: RequestRedirect, match: HTTPRouteMatch | GRPCRouteMatch, service_port: int
) -> Iterator[Json]:
    """The routes of a rule that redirects. What the filter leaves open is the request's.

    The port is the filter's, or the scheme's, or the Service's, and unsaid when it is the scheme's
    (HTTPRequestRedirectFilter.port). Unsaid to Envoy means the port in the request's Host: where there is one, it has
    to be said.
    """
    scheme = redirect.scheme or "http"
    port = redirect.port or (WELL_KNOWN[scheme] if redirect.scheme else service_port)
    action = _action(redirect, match, scheme)
    if port != WELL_KNOWN[scheme]:
        yield {**base, "redirect": {**action, "port_redirect": port}}
        return
    if redirect.hostname is None:
        with_port = {**base["match"], "headers": [*base["match"].get("headers", ()), *UNUSUAL_PORT]}
        yield {**base, "match": with_port, "redirect": {**action, "port_redirect": port}}
    yield {**base, "redirect": action}


def _action(redirect: RequestRedirect, match: HTTPRouteMatch | GRPCRouteMatch, scheme: str) -> Json:
    """The scheme is always said: Envoy would believe a client's X-Forwarded-Proto."""
    found: dict[str, Any] = {"response_code": CODES[redirect.status_code], "scheme_redirect": scheme}
    if redirect.hostname is not None:
        found["host_redirect"] = redirect.hostname
    if redirect.path is None:
        return found
    if redirect.path.type == "ReplaceFullPath":
        return {**found, "path_redirect": full_path(redirect.path)}
    return {**found, **replaced_prefix(redirect.path, match)}
