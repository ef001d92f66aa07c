"""HTTPRoutes and GRPCRoutes of one port, merged into one sorted list of rules for the waypoint."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from agent.ir.http import BackendPort, Pool, ResolvedFilter, Retry, RouteSet, Rule, Session, WeightedBackend
from agent.model.core import ServicePort
from agent.model.filters import BackendObjectReference, Filter
from agent.model.routes import (
    AnyRoute,
    GRPCRoute,
    GRPCRouteMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRetry,
    HTTPRouteRule,
    HTTPRouteTimeouts,
)
from agent.store.store import TrackedView
from agent.translate.filters.registry import types_of
from agent.translate.ports import speaks_h2c
from agent.translate.routes.binding import Binding
from agent.translate.routes.durations import milliseconds
from agent.translate.routes.precedence import grpc_specificity, http_specificity
from agent.translate.routes.references import resolve
from agent.translate.routes.validate import Checked

DEFAULT_ATTEMPTS = 1

SortKey = tuple[object, ...]


def route_set(view: TrackedView, name: str, consumer: str, port: ServicePort, applying: Iterable[Binding]) -> RouteSet:
    """What the waypoint does on a port: the rules of every Route that applies there, most specific first."""
    found: list[tuple[SortKey, Rule]] = []
    grpc = False
    for binding in {binding.route.key: binding for binding in applying}.values():
        route = binding.route
        if isinstance(route, HTTPRoute | GRPCRoute):
            grpc = isinstance(route, GRPCRoute)
            found += _rules(view, route, binding.checked)
    found.sort(key=lambda item: item[0])
    return RouteSet(name, consumer, port.port, grpc, tuple(rule for _, rule in found))


def _rules(view: TrackedView, route: HTTPRoute | GRPCRoute, checked: Checked) -> Iterator[tuple[SortKey, Rule]]:
    for index in (*checked.valid, *checked.closed):
        rule = route.spec.rules[index]
        made = _closed(route, index) if index in checked.closed else _rule(view, route, index)
        matches: tuple[HTTPRouteMatch | GRPCRouteMatch, ...] = rule.matches or (made.match,)
        for number, match in enumerate(matches):
            yield (
                (_specificity(match), route.age, index, number),
                replace(made, name=f"{made.name}/{number}", match=match),
            )


def _rule(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Rule:
    """What a rule does with every request: its matches make one of these each, with their number in the name."""
    rule = route.spec.rules[index]
    timeouts = rule.timeouts if isinstance(rule, HTTPRouteRule) else HTTPRouteTimeouts()
    return Rule(
        name=_name(route, index),
        match=_everything(route),
        filters=rule.filters,
        backends=tuple(_backends(view, route, index)),
        request_timeout=_timeout(timeouts.request),
        backend_timeout=_timeout(timeouts.backend_request),
        resolved=tuple(_resolved(view, route, rule.filters)),
        retry=_retry(rule.retry) if isinstance(rule, HTTPRouteRule) else None,
        session=_session(view, route, index),
    )


def _closed(route: HTTPRoute | GRPCRoute, index: int) -> Rule:
    """A rule whose requests are all answered 500."""
    return Rule(_name(route, index), _everything(route))


def _name(route: HTTPRoute | GRPCRoute, index: int) -> str:
    return f"{route.metadata.namespace}/{route.metadata.name}/{route.spec.rules[index].name or index}"


def _everything(route: HTTPRoute | GRPCRoute) -> HTTPRouteMatch | GRPCRouteMatch:
    """What an empty list of matches means."""
    return GRPCRouteMatch() if isinstance(route, GRPCRoute) else HTTPRouteMatch()


def _specificity(match: HTTPRouteMatch | GRPCRouteMatch) -> tuple[int, ...]:
    return http_specificity(match) if isinstance(match, HTTPRouteMatch) else grpc_specificity(match)


def _timeout(duration: str | None) -> int | None:
    """Milliseconds; `0s` disables the timeout (GEP-1742)."""
    return (milliseconds(duration) or None) if duration is not None else None


def _retry(retry: HTTPRouteRetry | None) -> Retry | None:
    """GEP-1731 leaves the number of attempts open where the Route does not say it."""
    if retry is None:
        return None
    backoff = milliseconds(retry.backoff) if retry.backoff is not None else None
    return Retry(DEFAULT_ATTEMPTS if retry.attempts is None else retry.attempts, retry.codes, backoff)


def _session(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Session | None:
    rule, meta = route.spec.rules[index], route.metadata
    asked = rule.session_persistence
    if asked is None:
        return None
    lifetime = milliseconds(asked.absolute_timeout or "0s")
    return Session(
        name=asked.name or session_name(f"{route.key.kind}/{meta.namespace}/{meta.name}/{rule.name or index}"),
        header=asked.type == "Header",
        path=asked.path,
        seconds=-(-lifetime // 1000) if lifetime else None,
        pool=_pool(view, route, index),
    )


def session_name(rule: str) -> str:
    """A name of its own for each rule whose author gave none: sessions are not shared between rules (GEP-1619)."""
    return f"weft-session-{hashlib.blake2b(rule.encode(), digest_size=6).hexdigest()}"


def moving_sessions(view: TrackedView, route: AnyRoute) -> list[str]:
    """The rules that ask for sessions and have backends of different protocols, which no pool can hold: a session may
    move from one to another. By their JSON path.
    """
    if not isinstance(route, HTTPRoute):
        return []
    return [
        f"spec.rules[{index}].sessionPersistence"
        for index, rule in enumerate(route.spec.rules)
        if rule.session_persistence and len({item.protocol for item in _members(view, route, index)}) > 1
    ]


def _pool(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Pool | None:
    """The backends of a rule that keeps sessions, when there are several and they speak one protocol."""
    members = _members(view, route, index)
    alike = len({item.protocol for item in members}) == 1
    return Pool(members) if len(members) > 1 and alike else None


def _members(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> tuple[BackendPort, ...]:
    """Every backend of a rule that is there, also of weight 0: its sessions stay (GEP-1619)."""
    refs = route.spec.rules[index].backend_refs
    found = {_backend(view, route, ref, f"spec.rules[{index}].backendRefs[{at}]") for at, ref in enumerate(refs)}
    return tuple(sorted((item for item in found if item is not None), key=lambda item: item.cluster))


def _backends(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Iterator[WeightedBackend]:
    for position, ref in enumerate(route.spec.rules[index].backend_refs):
        if ref.weight:
            backend = _backend(view, route, ref, f"spec.rules[{index}].backendRefs[{position}]")
            yield WeightedBackend(backend, ref.weight, ref.filters, tuple(_resolved(view, route, ref.filters)))


def _resolved(view: TrackedView, route: HTTPRoute | GRPCRoute, filters: Iterable[Filter]) -> Iterator[ResolvedFilter]:
    """Filters that refer to backends, with those that are there."""
    for entry in filters:
        for item, config in types_of(entry):
            found = item.resolve(config, [_backend(view, route, ref, "") for _, ref in item.references(config)])
            if found is not None:
                yield found


def _backend(
    view: TrackedView, route: HTTPRoute | GRPCRoute, ref: BackendObjectReference, field: str
) -> BackendPort | None:
    """The port that a reference means, None where it is invalid. gRPC is HTTP/2 whatever the port says (GEP-1016)."""
    found = resolve(view, route, ref, field)
    if found.service is None or found.port is None:
        return None
    protocol = "h2c" if isinstance(route, GRPCRoute) or speaks_h2c(found.port) else "http"
    return BackendPort.of(found.service.key, found.port.port, protocol, found.service.keeps_clients)
