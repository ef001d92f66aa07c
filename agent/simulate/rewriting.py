"""New paths, and where a redirect sends a client."""

from agent.model.filters import PathModifier, RequestRedirect
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.simulate.request import Request
from agent.translate.xds.redirect import WELL_KNOWN


def new_target(modifier: PathModifier | None, match: HTTPRouteMatch | GRPCRouteMatch, request: Request) -> str:
    """The request's target with its path replaced; its query stays."""
    if modifier is None:
        return request.target
    return _path(modifier, match, request.path) + request.target[len(request.path) :]


def _path(modifier: PathModifier, match: HTTPRouteMatch | GRPCRouteMatch, path: str) -> str:
    """Slashes at the ends of a prefix and of what replaces it do not count (HTTPPathModifier)."""
    if modifier.type == "ReplaceFullPath":
        return _absolute(modifier.replace_full_path or "")
    prefix = match.path.value.rstrip("/") if isinstance(match, HTTPRouteMatch) else ""
    new = _absolute(modifier.replace_prefix_match or "").rstrip("/")
    rest = path[len(prefix) :]
    return new + rest if new or not prefix else f"/{rest.lstrip('/')}"


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def location(
    redirect: RequestRedirect, match: HTTPRouteMatch | GRPCRouteMatch, request: Request, service_port: int
) -> str:
    """The Location of a redirect. What the filter leaves open is the request's.

    The port is the filter's, or the scheme's, or the Service's (HTTPRequestRedirectFilter.port). It is said when it is
    not the scheme's own, or when the request's Host says one.
    """
    scheme = redirect.scheme or "http"
    port = redirect.port or (WELL_KNOWN[scheme] if redirect.scheme else service_port)
    host, said = _host_and_port(request.authority)
    target = new_target(redirect.path, match, request)
    if port != WELL_KNOWN[scheme]:
        return f"{scheme}://{redirect.hostname or host}:{port}{target}"
    if redirect.hostname is not None or said in ("", "80"):
        return f"{scheme}://{redirect.hostname or _without_own_port(request, scheme)}{target}"
    return f"{scheme}://{host}:{port}{target}"


def _without_own_port(request: Request, scheme: str) -> str:
    """The authority; Envoy takes `:80` away where a client that came by http is sent to https."""
    host, said = _host_and_port(request.authority)
    leaves_http = request.values("x-forwarded-proto") == ("http",) and scheme == "https"
    return host if said == "80" and leaves_http else request.authority


def _host_and_port(authority: str) -> tuple[str, str]:
    """`host:80` in two; an IPv6 address keeps its brackets, and the port is empty where none is said."""
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and port.isdigit() and host else (authority, "")
