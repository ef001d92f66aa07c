"""HTTPRoutes and GRPCRoutes of one port, merged into one sorted list of rules for the waypoint."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from agent.ir.http import BackendPort, HTTPListenerIR, Pool, ResolvedFilter, Retry, Rule, Session, WeightedBackend
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


def http_listener_ir(
    view: TrackedView, name: str, consumer: str, port: ServicePort, effective: Iterable[Binding]
) -> HTTPListenerIR:
    """The rules of a port's listener: those of every Route that applies there, the most specific first."""
    routes = {binding.route.key: binding for binding in effective}.values()
    found = [item for binding in routes for item in _rules_of(view, binding)]
    found.sort(key=lambda item: item[0])
    grpc = any(isinstance(binding.route, GRPCRoute) for binding in routes)
    return HTTPListenerIR(name, consumer, port.port, grpc, tuple(rule for _, rule in found))


def read_rules(view: TrackedView, effective: Iterable[Binding]) -> Iterator[None]:
    """Lower the rules of Routes that apply on a port, a Route in each step."""
    for binding in effective:
        _rules_of(view, binding)
        yield


def _rules_of(view: TrackedView, binding: Binding) -> list[tuple[SortKey, Rule]]:
    """The rules of a Route, the same on each port."""
    route = binding.route
    if not isinstance(route, HTTPRoute | GRPCRoute):
        return []
    return view.once(("rules", route.key), lambda: list(_rules(view, route, binding.checked)))


def _rules(view: TrackedView, route: HTTPRoute | GRPCRoute, checked: Checked) -> Iterator[tuple[SortKey, Rule]]:
    for index in (*checked.valid, *checked.closed):
        rule = route.spec.rules[index]
        template = _closed(route, index) if index in checked.closed else _rule(view, route, index)
        matches: tuple[HTTPRouteMatch | GRPCRouteMatch, ...] = rule.matches or (template.match,)
        for number, match in enumerate(matches):
            yield (
                (_specificity(match), route.age, index, number),
                replace(template, name=f"{template.name}/{number}", match=match),
            )


def _rule(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Rule:
    """A rule for every request. Each match of the rule becomes a copy of it, with the match's index in the name."""
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
    """A rule that answers 500 to every request."""
    return Rule(_name(route, index), _everything(route))


def _name(route: HTTPRoute | GRPCRoute, index: int) -> str:
    return f"{route.metadata.namespace}/{route.metadata.name}/{route.spec.rules[index].name or index}"


def _everything(route: HTTPRoute | GRPCRoute) -> HTTPRouteMatch | GRPCRouteMatch:
    """The match of a rule without matches: every request."""
    return GRPCRouteMatch() if isinstance(route, GRPCRoute) else HTTPRouteMatch()


def _specificity(match: HTTPRouteMatch | GRPCRouteMatch) -> tuple[int, ...]:
    return http_specificity(match) if isinstance(match, HTTPRouteMatch) else grpc_specificity(match)


def _timeout(duration: str | None) -> int | None:
    """Milliseconds; `0s` disables the timeout (GEP-1742)."""
    return (milliseconds(duration) or None) if duration is not None else None


def _retry(retry: HTTPRouteRetry | None) -> Retry | None:
    """GEP-1731 leaves the default number of attempts to the implementation."""
    if retry is None:
        return None
    backoff = milliseconds(retry.backoff) if retry.backoff is not None else None
    return Retry(DEFAULT_ATTEMPTS if retry.attempts is None else retry.attempts, retry.codes, backoff)


def _session(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Session | None:
    rule, meta = route.spec.rules[index], route.metadata
    persistence = rule.session_persistence
    if persistence is None:
        return None
    lifetime = milliseconds(persistence.absolute_timeout or "0s")
    return Session(
        name=persistence.name or session_name(f"{route.key.kind}/{meta.namespace}/{meta.name}/{rule.name or index}"),
        header=persistence.type == "Header",
        path=persistence.path,
        seconds=-(-lifetime // 1000) if lifetime else None,
        pool=_pool(view, route, index),
    )


def session_name(rule: str) -> str:
    """A unique name for each rule without one in the Route: rules do not share sessions (GEP-1619)."""
    return f"weft-session-{hashlib.blake2b(rule.encode(), digest_size=6).hexdigest()}"


def moving_sessions(view: TrackedView, route: AnyRoute) -> list[str]:
    """The rules with sessions whose backends have different protocols, by their JSON path. No pool can have both, so a
    session may move from one backend to another.
    """
    if not isinstance(route, HTTPRoute):
        return []
    return [
        f"spec.rules[{index}].sessionPersistence"
        for index, rule in enumerate(route.spec.rules)
        if rule.session_persistence and len({item.protocol for item in _members(view, route, index)}) > 1
    ]


def _pool(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Pool | None:
    """The backends of a rule with sessions, when there are several of one protocol."""
    members = _members(view, route, index)
    alike = len({item.protocol for item in members}) == 1
    return Pool(members) if len(members) > 1 and alike else None


def _members(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> tuple[BackendPort, ...]:
    """Every existing backend of a rule, also of weight 0, since its sessions stay (GEP-1619)."""
    refs = route.spec.rules[index].backend_refs
    found = {_backend(view, route, ref, f"spec.rules[{index}].backendRefs[{at}]") for at, ref in enumerate(refs)}
    return tuple(sorted((item for item in found if item is not None), key=lambda item: item.cluster))


def _backends(view: TrackedView, route: HTTPRoute | GRPCRoute, index: int) -> Iterator[WeightedBackend]:
    for position, ref in enumerate(route.spec.rules[index].backend_refs):
        if ref.weight:
            backend = _backend(view, route, ref, f"spec.rules[{index}].backendRefs[{position}]")
            yield WeightedBackend(backend, ref.weight, ref.filters, tuple(_resolved(view, route, ref.filters)))


def _resolved(view: TrackedView, route: HTTPRoute | GRPCRoute, filters: Iterable[Filter]) -> Iterator[ResolvedFilter]:
    """Filters that refer to backends, with the backends that exist."""
    for entry in filters:
        for item, config in types_of(entry):
            found = item.resolve(config, [_backend(view, route, ref, "") for _, ref in item.references(config)])
            if found is not None:
                yield found


def _backend(
    view: TrackedView, route: HTTPRoute | GRPCRoute, ref: BackendObjectReference, field: str
) -> BackendPort | None:
    """The port of a reference, None where it is invalid. gRPC is HTTP/2 whatever the appProtocol is (GEP-1016)."""
    found = resolve(view, route, ref, field)
    if found.service is None or found.port is None:
        return None
    protocol = "h2c" if isinstance(route, GRPCRoute) or speaks_h2c(found.port) else "http"
    return BackendPort.of(found.service.key, found.port.port, protocol, found.service.has_client_ip_affinity)
