"""New paths and hosts: URLRewrite, and the path that a redirect names."""

from agent.model.filters import PathModifier, URLRewrite
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.plan.resources import Json


def url_rewrite(rewrite: URLRewrite, match: HTTPRouteMatch | GRPCRouteMatch) -> Json:
    """What of a RouteAction says the request's new host and path."""
    host = {"host_rewrite_literal": rewrite.hostname} if rewrite.hostname is not None else {}
    if rewrite.path is None:
        return host
    if rewrite.path.type == "ReplaceFullPath":
        return {**host, "regex_rewrite": _regex("^/.*$", full_path(rewrite.path))}
    return {**host, **replaced_prefix(rewrite.path, match)}


def full_path(path: PathModifier) -> str:
    """ReplaceFullPath; a path begins with a slash, also where the Route forgot it."""
    return _absolute(path.replace_full_path or "")


def replaced_prefix(path: PathModifier, match: HTTPRouteMatch | GRPCRouteMatch) -> Json:
    """ReplacePrefixMatch (HTTPPathModifier): slashes at the ends of prefix and replacement do not count.

    Envoy's prefix_rewrite would make `//bar` of `/foo/bar` when `/foo` becomes `/`, and nothing of `/foo`.
    """
    prefix = match.path.value.rstrip("/") if isinstance(match, HTTPRouteMatch) else ""
    new = _absolute(path.replace_prefix_match or "").rstrip("/")
    if not prefix:
        return {"regex_rewrite": _regex("^/", f"{new}/")}
    return {"prefix_rewrite": new} if new else {"regex_rewrite": _regex(f"^{_escaped(prefix)}/*", "/")}


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _regex(pattern: str, substitution: str) -> Json:
    """A rewrite of the path without its query. A backslash in the substitution would name a group."""
    return {"pattern": {"regex": pattern}, "substitution": substitution.replace("\\", "\\\\")}


def _escaped(text: str) -> str:
    """Literal text for RE2."""
    return "".join(f"\\{character}" if character in r".*+?()[]{}|^$\\" else character for character in text)
