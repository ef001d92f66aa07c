"""A route set as a RouteConfiguration: one virtual host for every name, its routes in order of precedence, then 404."""

from collections.abc import Iterable, Iterator
from typing import Any

from agent.model.routes import Filter, HeaderFilter, HTTPRouteMatch, RequestRedirect, URLRewrite
from agent.plan.plan import Json
from agent.translate.ir import RouteSet, Rule, WeightedBackend
from agent.translate.xds.match import route_match

FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
# The name of the listener's filter that answers an invalid backendRef's share, and of the cluster that is never asked.
REFUSAL = "refusal"
INVALID = "invalid"
REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
WELL_KNOWN = {"http": 80, "https": 443}


def route_configuration(route_set: RouteSet) -> Json:
    """What Envoy does with the requests of a listener. No rule matches: 404 (HTTPRouteRule.matches)."""
    routes = [route for rule in route_set.rules for route in _routes(rule, route_set)]
    missing = {"match": {"prefix": "/"}, "name": "no-match", "direct_response": {"status": 404}}
    return {
        "name": route_set.name,
        "virtual_hosts": [{"name": route_set.name, "domains": ["*"], "routes": [*routes, missing]}],
        "ignore_port_in_host_matching": True,
        # What a backendRef says of a header comes after what its rule says.
        "most_specific_header_mutations_wins": True,
    }


def _routes(rule: Rule, route_set: RouteSet) -> Iterator[Json]:
    """One match of a rule."""
    base: dict[str, Any] = {"name": rule.name, "match": route_match(rule.match), **_header_changes(rule.filters)}
    redirect = next((item.request_redirect for item in rule.filters if item.request_redirect), None)
    refusal = 503 if route_set.grpc else 500
    if redirect is not None:
        yield {**base, "redirect": _redirect(redirect, rule, route_set.port)}
    elif all(item.backend is None for item in rule.backends):
        yield {**base, "direct_response": {"status": refusal}}
    else:
        yield {**base, "route": _action(rule, refusal)}


def _action(rule: Rule, refusal: int) -> Json:
    rewrite = next((item.url_rewrite for item in rule.filters if item.url_rewrite), None)
    return {
        **_clusters(rule.backends, refusal),
        **(_rewrite(rewrite, rule) if rewrite else {}),
        **_timeouts(rule),
    }


def _clusters(backends: tuple[WeightedBackend, ...], refusal: int) -> Json:
    """Weights as the Route gives them. One backend with filters of its own is a weighted cluster too."""
    first = backends[0].backend
    if len(backends) == 1 and first is not None and not backends[0].filters:
        return {"cluster": first.cluster}
    return {"weighted_clusters": {"clusters": [_share(item, refusal) for item in backends]}}


def _share(item: WeightedBackend, refusal: int) -> Json:
    """A share of the requests. An invalid reference's is answered before a cluster is looked for.

    It is drawn together with the others: a route of its own with a `runtime_fraction` would use the same random number
    as the weights behind it, and distort them.
    """
    if item.backend is not None:
        return {"name": item.backend.cluster, "weight": item.weight, **_header_changes(item.filters)}
    always = {"numerator": 100, "denominator": "HUNDRED"}
    fault = {"@type": FAULT, "abort": {"http_status": refusal, "percentage": always}}
    return {"name": INVALID, "weight": item.weight, "typed_per_filter_config": {REFUSAL: fault}}


def _timeouts(rule: Rule) -> Json:
    """No timeout unless the Route asks for one. Only what never reached a server is tried again."""
    retry: dict[str, Any] = {"retry_on": "connect-failure,refused-stream", "num_retries": 2}
    if rule.backend_timeout is not None:
        retry["per_try_timeout"] = _seconds(rule.backend_timeout)
    return {"timeout": _seconds(rule.request_timeout or 0), "retry_policy": retry}


def _seconds(milliseconds: int) -> str:
    """A protobuf Duration."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}s"


def _header_changes(filters: Iterable[Filter]) -> dict[str, Any]:
    """Header modifiers of a route or a weighted cluster."""
    found: dict[str, Any] = {}
    for item in filters:
        for kind, change in (("request", item.request_header_modifier), ("response", item.response_header_modifier)):
            if change is not None:
                found |= _header_change(kind, change)
    return found


def _header_change(kind: str, change: HeaderFilter) -> dict[str, Any]:
    options = [("OVERWRITE_IF_EXISTS_OR_ADD", item) for item in change.set]
    options += [("APPEND_IF_EXISTS_OR_ADD", item) for item in change.add]
    found: dict[str, Any] = {}
    if options:
        found[f"{kind}_headers_to_add"] = [
            {
                "header": {"key": item.name, "value": _literal(item.value)},
                "append_action": action,
                "keep_empty_value": True,
            }
            for action, item in options
        ]
    if change.remove:
        found[f"{kind}_headers_to_remove"] = list(change.remove)
    return found


def _literal(value: str) -> str:
    """A header's value is text; Envoy would read `%…%` as a command."""
    return value.replace("%", "%%")


def _redirect(redirect: RequestRedirect, rule: Rule, service_port: int) -> Json:
    """The Location. What the filter leaves open is the request's; the port is the Service's, unsaid when well known."""
    found: dict[str, Any] = {"response_code": REDIRECT_CODES[redirect.status_code]}
    if redirect.scheme is not None:
        found["scheme_redirect"] = redirect.scheme
    if redirect.hostname is not None:
        found["host_redirect"] = redirect.hostname
    scheme = redirect.scheme or "http"
    port = redirect.port or (WELL_KNOWN[scheme] if redirect.scheme else service_port)
    if port != WELL_KNOWN[scheme]:
        found["port_redirect"] = port
    if redirect.path is not None and redirect.path.type == "ReplaceFullPath":
        found["path_redirect"] = redirect.path.replace_full_path
    elif redirect.path is not None:
        found |= _prefix(rule, redirect.path.replace_prefix_match or "")
    return found


def _rewrite(rewrite: URLRewrite, rule: Rule) -> Json:
    found: dict[str, Any] = {}
    if rewrite.hostname is not None:
        found["host_rewrite_literal"] = rewrite.hostname
    if rewrite.path is not None and rewrite.path.type == "ReplaceFullPath":
        found["regex_rewrite"] = _regex("^/.*$", rewrite.path.replace_full_path or "")
    elif rewrite.path is not None:
        found |= _prefix(rule, rewrite.path.replace_prefix_match or "")
    return found


def _prefix(rule: Rule, replacement: str) -> dict[str, Any]:
    """ReplacePrefixMatch (HTTPPathModifier): slashes at the ends of prefix and replacement do not count.

    Envoy's prefix_rewrite would make `//bar` of `/foo/bar` when `/foo` becomes `/`, and nothing of `/foo`.
    """
    prefix = rule.match.path.value.rstrip("/") if isinstance(rule.match, HTTPRouteMatch) else ""
    new = replacement.rstrip("/")
    if new:
        return {"prefix_rewrite": new} if prefix else {"regex_rewrite": _regex("^/*", f"{new}/")}
    return {"regex_rewrite": _regex(f"^{_escaped(prefix)}/*", "/")}


def _regex(pattern: str, substitution: str) -> Json:
    """A rewrite of the path without its query. A backslash in the substitution would name a group."""
    return {"pattern": {"regex": pattern}, "substitution": substitution.replace("\\", "\\\\")}


def _escaped(text: str) -> str:
    """Literal text for RE2."""
    return "".join(f"\\{character}" if character in r".*+?()[]{}|^$\\" else character for character in text)
