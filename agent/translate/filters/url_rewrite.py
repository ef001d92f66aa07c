"""URLRewrite: another host or path for the backend.

Envoy logs a request as it is in the end. It would keep the former path in `x-envoy-original-path`, a header that
clients can write too, and that servers shall not get from the waypoint. So the path and host that a client sent are
kept in the filter state, for the access log.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from agent.ir.resources import Json
from agent.model.filters import Filter, URLRewrite
from agent.model.limits import Violation
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.field_errors import FieldError
from agent.translate.filters.base import Changes, EnvoyRoute, FilterPlace, HTTPFilter, Part, RequestState
from agent.translate.filters.paths import (
    full_path,
    host_errors,
    new_target,
    path_errors,
    path_regex,
    path_violations,
    prefix_errors,
    replaced_prefix,
)

RECEIVED = "received"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
# Names of the filter state, and of the log's tags.
PATH, AUTHORITY = "received-path", "received-authority"
# Characters that are kept, as many as the agent logs.
MAX_TEXT = 2048


class RewriteFilter(HTTPFilter[URLRewrite]):
    """Where the rule and its backend have a rewrite, the backend's host and path replace those of the rule."""

    type = "URLRewrite"
    places = FilterPlace.HTTP
    excludes = frozenset({"RequestRedirect"})
    chain = ({"name": RECEIVED, "typed_config": {"@type": TYPE}, "disabled": True},)
    messages = ("envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2",)
    features = ("MeshHTTPRouteRewritePath",)

    def config(self, item: Filter) -> URLRewrite | None:
        return item.url_rewrite

    def violations(self, field: str, config: URLRewrite) -> Iterator[Violation]:
        yield from path_violations(f"{field}.path", config.path)

    def check(self, field: str, config: URLRewrite) -> Iterator[FieldError]:
        yield from host_errors(f"{field}.hostname", config.hostname)
        yield from path_errors(f"{field}.path", config.path)

    def check_matches(self, field: str, config: URLRewrite, matches: Sequence[HTTPRouteMatch]) -> Iterator[FieldError]:
        yield from prefix_errors(f"{field}.path", config.path, matches)

    def render(self, route: EnvoyRoute, configs: Sequence[URLRewrite], part: Part) -> Iterable[EnvoyRoute]:
        if not configs:
            return (route,)
        rewrite = _combined(configs)
        kept = _kept(rewrite)
        route = route.routed(_action(rewrite, part.rule.match))
        return (route.configured(RECEIVED, kept) if kept else route,)

    def changes(self, config: URLRewrite) -> Changes:
        return Changes(path=config.path is not None)

    def evaluate(self, state: RequestState, configs: Sequence[URLRewrite], part: Part) -> RequestState:
        if not configs:
            return state
        rewrite = _combined(configs)
        target = new_target(rewrite.path, part.rule.match, state.request)
        authority = rewrite.hostname or state.request.authority
        return replace(state, request=replace(state.request, authority=authority, target=target))


def received_tags() -> list[Json]:
    """Tags of the access log with the path and host that a client sent: `-` where they are not in the filter state."""
    return [{"tag": name, "value": f"%FILTER_STATE({name}:PLAIN)%"} for name in (PATH, AUTHORITY)]


def _combined(configs: Sequence[URLRewrite]) -> URLRewrite:
    hosts = [item.hostname for item in configs if item.hostname is not None]
    paths = [item.path for item in configs if item.path is not None]
    return URLRewrite(hosts[-1] if hosts else None, paths[-1] if paths else None)


def _action(rewrite: URLRewrite, match: HTTPRouteMatch | GRPCRouteMatch) -> Json:
    """The fields of a RouteAction for the new host and path."""
    host = {"host_rewrite_literal": rewrite.hostname} if rewrite.hostname is not None else {}
    if rewrite.path is None:
        return host
    if rewrite.path.type == "ReplaceFullPath":
        return {**host, "regex_rewrite": path_regex("^/.*$", full_path(rewrite.path))}
    return {**host, **replaced_prefix(rewrite.path, match)}


def _kept(rewrite: URLRewrite) -> Json:
    """Settings that keep path and host in the filter state where the route rewrites them; empty for other routes."""
    values = [
        *([_value(PATH, ":PATH")] if rewrite.path is not None else []),
        *([_value(AUTHORITY, ":AUTHORITY")] if rewrite.hostname is not None else []),
    ]
    return {"@type": TYPE, "on_request_headers": values} if values else {}


def _value(name: str, header: str) -> Json:
    return {
        "object_key": name,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": f"%REQ({header}):{MAX_TEXT}%"}},
    }
