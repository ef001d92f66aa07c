"""Which rule a request meets: the matches of HTTPRoutes and GRPCRoutes as Envoy does them."""

from agent.ir.http import HTTPListenerIR, Rule, TLSListenerIR, TLSRule
from agent.ir.request import Request
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.translate.filters.registry import other_matches
from agent.translate.grpc_method import path_expression
from agent.translate.regex import full_match


def first_match(listener_ir: HTTPListenerIR, request: Request) -> Rule | None:
    """The rule that decides, None when none matches. A listener IR is in order of precedence."""
    return next((rule for rule in listener_ir.rules if _applies(rule, request)), None)


def _applies(rule: Rule, request: Request) -> bool:
    """Whether a rule takes a request: by its match, or by a further match of its filters."""
    if matches(rule.match, request):
        return True
    return any(matches(other, request) for other in other_matches(rule.filters, rule.match, request))


def matches(match: HTTPRouteMatch | GRPCRouteMatch, request: Request) -> bool:
    """Whether all conditions of a match hold."""
    if not all(_header(item, request) for item in match.headers):
        return False
    if isinstance(match, GRPCRouteMatch):
        return _grpc_method(match.method, request.path)
    return (
        match.method in (None, request.method)
        and _path(match.path, request.path)
        and all(_query(item, request.query) for item in match.query_params)
    )


def _path(wanted: HTTPPathMatch, path: str) -> bool:
    """Prefixes match whole elements: `/v2` matches `/v2` and `/v2/x`, not `/v2x`."""
    if wanted.type == "Exact":
        return path == wanted.value
    if wanted.type == "RegularExpression":
        return full_match(wanted.value, path)
    prefix = wanted.value.rstrip("/")
    return path.startswith(f"{prefix}/") or (path == prefix and prefix != "")


def _grpc_method(wanted: GRPCMethodMatch | None, path: str) -> bool:
    """gRPC's path is `/service/method`; a part that the match does not have can be any."""
    if wanted is None:
        return path.startswith("/")
    if wanted.type == "Exact" and wanted.service and not wanted.method:
        return path.startswith(f"/{wanted.service}/")
    root, _, rest = path.partition("/")
    if wanted.type == "Exact" and wanted.service:
        return (root, rest) == ("", f"{wanted.service}/{wanted.method}")
    if wanted.type == "Exact":
        service, slash, method = rest.partition("/")
        return not root and bool(service and slash) and method == wanted.method
    return full_match(path_expression(wanted), path)


def _header(wanted: HeaderMatch, request: Request) -> bool:
    """Where a request has a header several times, one matching value suffices (measured on Envoy 1.40; the API does not
    define it). Headers that Envoy joins are one value.
    """
    return any(_value(wanted.type, wanted.value, value) for value in request.values(wanted.name))


def _query(wanted: QueryParamMatch, query: str) -> bool:
    """The first value of that name counts; names and values are compared as they are on the wire."""
    parts = (part.partition("=") for part in query.split("&"))
    value = next((value for name, _, value in parts if name == wanted.name), None)
    return value is not None and _value(wanted.type, wanted.value, value)


def _value(kind: str, wanted: str, value: str) -> bool:
    return full_match(wanted, value) if kind == "RegularExpression" else value == wanted


def rule_for(listener_ir: TLSListenerIR, server_name: str) -> TLSRule | None:
    """The rule with exactly this name, else with the longest matching `*.`, else the one for any server; None: Envoy
    closes the connection.

    A client that dials an address sends no name: it is empty.
    """
    wanted = server_name.lower()
    labels = wanted.split(".")
    suffixes = ["*." + ".".join(labels[position:]) for position in range(1, len(labels))]
    for name in (wanted, *suffixes):
        found = next((rule for rule in listener_ir.rules if name and name in rule.server_names), None)
        if found is not None:
            return found
    return next((rule for rule in listener_ir.rules if not rule.server_names), None)
