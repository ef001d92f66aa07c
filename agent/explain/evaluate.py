"""Evaluates a request or a TLS connection at the waypoint; the result is one document."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.explain.answer import Answer, Share, answer
from agent.explain.passthrough import rule_for
from agent.explain.query import TrafficQuery
from agent.explain.render import behaviour, compact, origin
from agent.ir.http import Address, BackendPort, RouteSet, Rule, TLSRouteSet
from agent.ir.tables import host_port
from agent.translate.filters.registry import HTTP_FILTERS, words

Document = dict[str, Any]
Endpoints = Mapping[BackendPort, tuple[Address, ...]]
NO_ENDPOINT = 503


def evaluate(rules: RouteSet | TLSRouteSet, endpoints: Endpoints, query: TrafficQuery) -> Document:
    """By the rules of one listener, and the endpoints of its fragment. `warning` is about what does not fit."""
    if isinstance(rules, RouteSet):
        found = _answered(rules, endpoints, answer(rules, query.request), query)
    else:
        found = _passed_through(rules, endpoints, query)
    return {**found, "warning": _warning(rules, query.scheme) or None}


def _warning(rules: RouteSet | TLSRouteSet, scheme: str) -> str:
    """What comes of a client that speaks something else than the waypoint reads."""
    if isinstance(rules, TLSRouteSet):
        return "" if scheme == "https" else "the waypoint looks for TLS on this port: what is not TLS is closed"
    if scheme == "https":
        return "the waypoint reads clear text on this port: a TLS handshake fails"
    return "" if scheme == "http" else "the waypoint reads HTTP on this port: what is not HTTP is answered with 400"


def _clients(rules: RouteSet | TLSRouteSet) -> str:
    return f"namespace {rules.consumer}" if rules.consumer else "everybody"


def _answered(rules: RouteSet, endpoints: Endpoints, found: Answer, query: TrafficQuery) -> Document:
    return {
        "routeSet": rules.name,
        "clients": _clients(rules),
        "rule": _rule(found.rule, rules) if found.rule else None,
        "status": found.status,
        "location": found.location or None,
        **{fact.name: found.facts.get(fact.name) for item in HTTP_FILTERS for fact in item.facts},
        "shares": [_share(item, endpoints, query) for item in found.shares],
        "responseHeaders": [compact(item) for item in found.response],
    }


def _passed_through(rules: TLSRouteSet, endpoints: Endpoints, query: TrafficQuery) -> Document:
    """Where bytes go, by the server name that a TLS client says; what is not TLS is closed."""
    name = query.server_name
    rule = rule_for(rules, name) if query.scheme == "https" else None
    total = sum(item.weight for item in rule.backends) if rule else 0
    shares = [(item.weight / total, item.backend) for item in rule.backends] if rule else []
    return {
        "routeSet": rules.name,
        "clients": _clients(rules),
        "serverName": name,
        "rule": {"route": str(origin(rule).route), "rule": origin(rule).rule, "serverNames": list(rule.server_names)}
        if rule
        else None,
        "shares": [
            {
                "share": part,
                "backend": backend.cluster if backend else "invalid",
                "endpoints": _texts(endpoints[backend]) if backend else [],
            }
            for part, backend in shares
        ],
    }


def _rule(rule: Rule, rules: RouteSet) -> Document:
    found = origin(rule, rules.grpc)
    timeouts = {"requestMs": rule.request_timeout, "backendRequestMs": rule.backend_timeout}
    return {
        "name": rule.name,
        "route": str(found.route),
        "rule": found.rule,
        "matchIndex": found.match,
        "match": compact(rule.match),
        "filters": [compact(item) for item in rule.filters],
        "timeouts": {key: value for key, value in timeouts.items() if value is not None},
        **behaviour(rule),
    }


def _share(share: Share, endpoints: Endpoints, query: TrafficQuery) -> Document:
    """Of a share that the waypoint answers itself there is no request to a backend."""
    asks = share.status is None
    addresses = _texts(endpoints[share.backend]) if share.backend and asks else []
    return {
        "share": float(share.part),
        "backend": share.backend.cluster if share.backend else "invalid",
        "request": {"method": query.request.method, "authority": share.authority, "target": share.target}
        if asks
        else None,
        "endpoints": addresses,
        "status": NO_ENDPOINT if asks and not addresses else share.status,
        "location": share.location or None,
        "headers": [f"{name}: {value}" for name, value in share.headers],
        "responseHeaders": [compact(item) for item in share.response],
        **words(share.resolved),
    }


def _texts(addresses: Iterable[Address]) -> list[str]:
    return [host_port(*item) for item in addresses]
