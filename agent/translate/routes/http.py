"""HTTPRoutes and GRPCRoutes of one port, merged into one sorted list of rules for the waypoint."""

from collections.abc import Iterable, Iterator

from agent.model.core import ServicePort
from agent.model.routes import (
    FilteredBackendRef,
    GRPCRoute,
    GRPCRouteMatch,
    GRPCRouteRule,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
)
from agent.translate.ir import BackendPort, RouteSet, Rule, WeightedBackend
from agent.translate.ports import speaks_h2c
from agent.translate.routes.binding import Binding
from agent.translate.routes.precedence import grpc_specificity, http_specificity
from agent.translate.routes.references import resolve
from agent.translate.routes.validate import milliseconds
from agent.world import View

SortKey = tuple[object, ...]


def route_set(view: View, name: str, consumer: str, port: ServicePort, applying: Iterable[Binding]) -> RouteSet:
    """What the waypoint does on a port: the rules of every Route that applies there, most specific first."""
    found: list[tuple[SortKey, Rule]] = []
    grpc = False
    for route in {binding.route.key: binding.route for binding in applying}.values():
        if isinstance(route, HTTPRoute | GRPCRoute):
            grpc = isinstance(route, GRPCRoute)
            valid = next(binding.checked.valid for binding in applying if binding.route.key == route.key)
            found += _rules(view, route, valid)
    found.sort(key=lambda item: item[0])
    return RouteSet(name, consumer, port.port, grpc, tuple(rule for _, rule in found))


def _rules(view: View, route: HTTPRoute | GRPCRoute, valid: tuple[int, ...]) -> Iterator[tuple[SortKey, Rule]]:
    meta = route.metadata
    for index in valid:
        rule = route.spec.rules[index]
        backends = tuple(_backends(view, route, index, rule.backend_refs))
        named = f"{meta.namespace}/{meta.name}/{rule.name or index}"
        matches: tuple[HTTPRouteMatch | GRPCRouteMatch, ...] = rule.matches or (_everything(route),)
        for number, match in enumerate(matches):
            key = (_specificity(match), route.age, index, number)
            yield key, _rule(f"{named}/{number}", match, rule, backends)


def _everything(route: HTTPRoute | GRPCRoute) -> HTTPRouteMatch | GRPCRouteMatch:
    """What an empty list of matches means."""
    return GRPCRouteMatch() if isinstance(route, GRPCRoute) else HTTPRouteMatch()


def _specificity(match: HTTPRouteMatch | GRPCRouteMatch) -> tuple[int, ...]:
    return http_specificity(match) if isinstance(match, HTTPRouteMatch) else grpc_specificity(match)


def _rule(
    name: str,
    match: HTTPRouteMatch | GRPCRouteMatch,
    rule: HTTPRouteRule | GRPCRouteRule,
    backends: tuple[WeightedBackend, ...],
) -> Rule:
    if isinstance(rule, GRPCRouteRule):
        return Rule(name, match, rule.filters, backends)
    timeouts = rule.timeouts
    return Rule(name, match, rule.filters, backends, _timeout(timeouts.request), _timeout(timeouts.backend_request))


def _timeout(duration: str | None) -> int | None:
    """Milliseconds; `0s` disables the timeout (GEP-1742)."""
    return (milliseconds(duration) or None) if duration is not None else None


def _backends(
    view: View, route: HTTPRoute | GRPCRoute, index: int, refs: tuple[FilteredBackendRef, ...]
) -> Iterator[WeightedBackend]:
    for position, ref in enumerate(refs):
        if ref.weight:
            found = resolve(view, route, ref, f"spec.rules[{index}].backendRefs[{position}]")
            backend = None
            if found.service is not None and found.port is not None:
                protocol = "h2c" if isinstance(route, GRPCRoute) or speaks_h2c(found.port) else "http"
                meta = found.service.metadata
                backend = BackendPort(meta.namespace, meta.name, found.port.port, protocol)
            yield WeightedBackend(backend, ref.weight, ref.filters)
