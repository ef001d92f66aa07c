"""Hosts and paths that URLRewrite and RequestRedirect put in place of a request's."""

import re
from collections.abc import Iterator, Sequence

from agent.ir.request import Request
from agent.ir.resources import Json
from agent.model.filters import PathModifier
from agent.model.limits import Violation
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.field_errors import INCOMPATIBLE, UNSUPPORTED, FieldError

# What would end the path in a request's first line, or may not be there (RFC 9112, 3; RFC 3986, 3.3).
_NO_PATH = re.compile(r"[^!-~]|[?#]")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def path_violations(field: str, path: PathModifier | None) -> Iterator[Violation]:
    """Violations of the schema by a path."""
    if path is None:
        return
    for kind, name, value in (
        ("ReplaceFullPath", "replaceFullPath", path.replace_full_path),
        ("ReplacePrefixMatch", "replacePrefixMatch", path.replace_prefix_match),
    ):
        if value is not None and path.type != kind:
            yield f"{field}.{name}", f"is there, but the type is {path.type[:80]!a}"
        elif value is None and path.type == kind:
            yield f"{field}.{name}", f"is missing: the type is {kind}"


def host_errors(field: str, host: str | None) -> Iterator[FieldError]:
    """Errors of a host name."""
    if host is not None and not _HOST.fullmatch(host):
        yield FieldError(UNSUPPORTED, field, f"{host!r} is not a host name")


def path_errors(field: str, path: PathModifier | None) -> Iterator[FieldError]:
    """Errors of a path."""
    if path is None:
        return
    values = {"ReplaceFullPath": path.replace_full_path, "ReplacePrefixMatch": path.replace_prefix_match}
    if path.type not in values:
        yield FieldError(UNSUPPORTED, f"{field}.type", f"{path.type!r} is not supported")
    elif values[path.type] is None:
        yield FieldError(UNSUPPORTED, field, f"has the type {path.type} but not its field")
    elif _NO_PATH.search(values[path.type] or ""):
        yield FieldError(UNSUPPORTED, field, "a path has no query, fragment, space, control or non-ASCII character")


def prefix_errors(field: str, path: PathModifier | None, matches: Sequence[HTTPRouteMatch]) -> Iterator[FieldError]:
    """ReplacePrefixMatch replaces a matched prefix, so every match has to be by PathPrefix (HTTPPathModifier)."""
    prefixes = all(match.path.type == "PathPrefix" for match in matches)
    if path is not None and path.type == "ReplacePrefixMatch" and not prefixes:
        yield FieldError(INCOMPATIBLE, field, "ReplacePrefixMatch needs PathPrefix matches")


def full_path(path: PathModifier) -> str:
    """The path of ReplaceFullPath, with a leading slash where the Route has none."""
    return _absolute(path.replace_full_path or "")


def replaced_prefix(path: PathModifier, match: HTTPRouteMatch | GRPCRouteMatch) -> Json:
    """ReplacePrefixMatch (HTTPPathModifier): trailing slashes of prefix and replacement are ignored.

    When `/foo` becomes `/`, Envoy's prefix_rewrite would turn `/foo/bar` into `//bar`, and `/foo` into an empty path.
    """
    prefix, new = _prefixes(path, match)
    if not prefix:
        return {"regex_rewrite": path_regex("^/", f"{new}/")}
    return {"prefix_rewrite": new} if new else {"regex_rewrite": path_regex(f"^{_escaped(prefix)}/*", "/")}


def path_regex(pattern: str, substitution: str) -> Json:
    """A rewrite of the path without its query. A backslash in the substitution would name a group."""
    return {"pattern": {"regex": pattern}, "substitution": substitution.replace("\\", "\\\\")}


def new_target(path: PathModifier | None, match: HTTPRouteMatch | GRPCRouteMatch, request: Request) -> str:
    """The request's target with its path replaced; its query stays."""
    if path is None:
        return request.target
    return _new_path(path, match, request.path) + request.target[len(request.path) :]


def _new_path(path: PathModifier, match: HTTPRouteMatch | GRPCRouteMatch, old: str) -> str:
    if path.type == "ReplaceFullPath":
        return full_path(path)
    prefix, new = _prefixes(path, match)
    rest = old[len(prefix) :]
    return new + rest if new or not prefix else f"/{rest.lstrip('/')}"


def _prefixes(path: PathModifier, match: HTTPRouteMatch | GRPCRouteMatch) -> tuple[str, str]:
    """The matched prefix and what replaces it, without slashes at their ends."""
    prefix = match.path.value.rstrip("/") if isinstance(match, HTTPRouteMatch) else ""
    return prefix, _absolute(path.replace_prefix_match or "").rstrip("/")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _escaped(text: str) -> str:
    """Literal text for RE2."""
    return "".join(f"\\{character}" if character in r".*+?()[]{}|^$\\" else character for character in text)
