"""RequestRedirect: the waypoint sends the client to another Location."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from agent.ir.request import Request
from agent.ir.resources import Json
from agent.model.filters import Filter, RequestRedirect
from agent.model.limits import Violation
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.filters.base import EnvoyRoute, FilterPlace, HTTPFilter, Part, RequestState
from agent.translate.filters.paths import (
    full_path,
    host_errors,
    new_target,
    path_errors,
    path_violations,
    prefix_errors,
    replaced_prefix,
)

CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
WELL_KNOWN = {"http": 80, "https": 443}
# Envoy removes `:80` by itself where no port is set.
UNUSUAL_PORT = (
    {"name": ":authority", "string_match": {"safe_regex": {"regex": ".+:[0-9]+"}}},
    {"name": ":authority", "string_match": {"suffix": ":80"}, "invert_match": True},
)


class RedirectFilter(HTTPFilter[RequestRedirect]):
    """Parts of the URL that the filter does not set are those of the request."""

    type = "RequestRedirect"
    places = FilterPlace.HTTP
    no_backends = "a rule that redirects has no backends"
    features = (
        "HTTPRoute303RedirectStatusCode",
        "HTTPRoute307RedirectStatusCode",
        "HTTPRoute308RedirectStatusCode",
        "MeshHTTPRouteRedirectPath",
        "MeshHTTPRouteRedirectPort",
        "MeshHTTPRouteSchemeRedirect",
    )

    def config(self, item: Filter) -> RequestRedirect | None:
        return item.request_redirect

    def violations(self, field: str, config: RequestRedirect) -> Iterator[Violation]:
        yield from path_violations(f"{field}.path", config.path)

    def check(self, field: str, config: RequestRedirect) -> Iterator[FieldError]:
        if config.scheme not in (None, *WELL_KNOWN):
            yield FieldError(UNSUPPORTED, f"{field}.scheme", f"{config.scheme!r} is neither http nor https")
        if config.status_code not in CODES:
            yield FieldError(UNSUPPORTED, f"{field}.statusCode", f"{config.status_code} is none of {tuple(CODES)}")
        yield from host_errors(f"{field}.hostname", config.hostname)
        yield from path_errors(f"{field}.path", config.path)

    def check_matches(
        self, field: str, config: RequestRedirect, matches: Sequence[HTTPRouteMatch]
    ) -> Iterator[FieldError]:
        yield from prefix_errors(f"{field}.path", config.path, matches)

    def render(self, route: EnvoyRoute, configs: Sequence[RequestRedirect], part: Part) -> Iterable[EnvoyRoute]:
        """Without `port_redirect` Envoy takes the port of the request's Host: where that has one, the port is named."""
        if not configs:
            yield route
            return
        redirect = configs[0]
        scheme, port = _scheme_and_port(redirect, part.service_port)
        settings = _action(redirect, part.rule.match, scheme)
        with_port = {**settings, "port_redirect": port}
        if port != WELL_KNOWN[scheme]:
            yield replace(route, action="redirect", settings=with_port)
            return
        if redirect.hostname is None:
            yield replace(route.matching(*UNUSUAL_PORT), action="redirect", settings=with_port)
        yield replace(route, action="redirect", settings=settings)

    def evaluate(self, state: RequestState, configs: Sequence[RequestRedirect], part: Part) -> RequestState:
        if not configs:
            return state
        where = _location(configs[0], part.rule.match, state.original, part.service_port)
        return replace(state, status=configs[0].status_code, location=where)


def _scheme_and_port(redirect: RequestRedirect, service_port: int) -> tuple[str, int]:
    """The port is the filter's, or the scheme's, or the Service's (HTTPRequestRedirectFilter.port)."""
    scheme = redirect.scheme or "http"
    return scheme, redirect.port or (WELL_KNOWN[scheme] if redirect.scheme else service_port)


def _action(redirect: RequestRedirect, match: HTTPRouteMatch | GRPCRouteMatch, scheme: str) -> Json:
    """`scheme_redirect` is always set: Envoy would believe a client's X-Forwarded-Proto."""
    found: dict[str, Any] = {"response_code": CODES[redirect.status_code], "scheme_redirect": scheme}
    if redirect.hostname is not None:
        found["host_redirect"] = redirect.hostname
    if redirect.path is None:
        return found
    if redirect.path.type == "ReplaceFullPath":
        return {**found, "path_redirect": full_path(redirect.path)}
    return {**found, **replaced_prefix(redirect.path, match)}


def _location(
    redirect: RequestRedirect, match: HTTPRouteMatch | GRPCRouteMatch, request: Request, service_port: int
) -> str:
    """The Location. It has the port when that is not the scheme's default, or when the request's Host has one."""
    scheme, port = _scheme_and_port(redirect, service_port)
    host, host_port = _host_and_port(request.authority)
    target = new_target(redirect.path, match, request)
    if port != WELL_KNOWN[scheme]:
        return f"{scheme}://{redirect.hostname or host}:{port}{target}"
    if redirect.hostname is not None or host_port in ("", "80"):
        return f"{scheme}://{redirect.hostname or _without_own_port(request, scheme)}{target}"
    return f"{scheme}://{host}:{port}{target}"


def _without_own_port(request: Request, scheme: str) -> str:
    """The authority; Envoy removes `:80` where it redirects a client from http to https."""
    host, host_port = _host_and_port(request.authority)
    leaves_http = request.values("x-forwarded-proto") == ("http",) and scheme == "https"
    return host if host_port == "80" and leaves_http else request.authority


def _host_and_port(authority: str) -> tuple[str, str]:
    """The host and port of `host:80`; an IPv6 address keeps its brackets, and the port is empty where there is none."""
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and port.isdigit() and host else (authority, "")
