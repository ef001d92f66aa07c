"""Short ways to write the rules that the waypoint's tests need."""

import itertools
from collections.abc import Iterable
from typing import Any

from agent.ir.http import BackendPort, Rule, WeightedBackend
from agent.model.filters import Filter, Header, HeaderFilter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import GRPCRouteMatch, HTTPPathMatch, HTTPRouteMatch

V1, V2, NO_ENDPOINTS = (BackendPort("app", name, 80) for name in ("v1", "v2", "nobody"))
V1_H2C = BackendPort("app", "v1", 80, "h2c")


def any_path(**match: Any) -> HTTPRouteMatch:
    """A match of every path, with further conditions."""
    return HTTPRouteMatch(**match)


def prefix(value: str, **match: Any) -> HTTPRouteMatch:
    """A match of a path prefix."""
    return HTTPRouteMatch(path=HTTPPathMatch("PathPrefix", value), **match)


def exact(value: str, **match: Any) -> HTTPRouteMatch:
    """A match of one path."""
    return HTTPRouteMatch(path=HTTPPathMatch("Exact", value), **match)


def to(*backends: BackendPort | None, weights: Iterable[int] = ()) -> tuple[WeightedBackend, ...]:
    """Backends of a rule, each of weight 1 unless said otherwise."""
    return tuple(
        WeightedBackend(item, weight) for item, weight in zip(backends, weights or itertools.repeat(1), strict=False)
    )


def full(path: str) -> PathModifier:
    """A whole path instead."""
    return PathModifier("ReplaceFullPath", replace_full_path=path)


def start(path: str) -> PathModifier:
    """Another start instead of the matched prefix."""
    return PathModifier("ReplacePrefixMatch", replace_prefix_match=path)


def filtered(*filters: Filter, by: BackendPort | None = V1, weight: int = 1) -> WeightedBackend:
    """A backend with filters of its own."""
    return WeightedBackend(by, weight, filters)


def rewrites(path: PathModifier | None, host: str | None = None) -> Filter:
    """A URLRewrite."""
    return Filter("URLRewrite", url_rewrite=URLRewrite(host, path))


def redirects(**fields: Any) -> Filter:
    """A RequestRedirect."""
    return Filter("RequestRedirect", request_redirect=RequestRedirect(**fields))


def changes(kind: str, **change: Any) -> Filter:
    """A header modifier: `set` and `add` are mappings, `remove` names."""
    found = HeaderFilter(
        set=tuple(Header(*item) for item in change.get("set", {}).items()),
        add=tuple(Header(*item) for item in change.get("add", {}).items()),
        remove=tuple(change.get("remove", ())),
    )
    if kind == "request":
        return Filter("RequestHeaderModifier", request_header_modifier=found)
    return Filter("ResponseHeaderModifier", response_header_modifier=found)


def rule(
    match: HTTPRouteMatch | GRPCRouteMatch,
    backends: tuple[WeightedBackend, ...] = to(V1),
    *filters: Filter,
    **more: Any,
) -> Rule:
    """A rule with a generated name; `more` are further fields of it."""
    return Rule("app/route/0/0", match, filters, backends, **more)
