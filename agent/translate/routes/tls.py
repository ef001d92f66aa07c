"""TLSRoutes of one port: which server names lead where. What is inside stays closed (passthrough, GEP-2643)."""

from collections.abc import Iterable, Iterator

from agent.ir.http import BackendPort, TLSRouteSet, TLSRule, WeightedBackend
from agent.model.routes import TLSRoute
from agent.store.store import TrackedView
from agent.translate.routes.binding import Binding, server_names
from agent.translate.routes.references import resolve


def tls_route_set(view: TrackedView, name: str, consumer: str, applying: Iterable[Binding]) -> TLSRouteSet:
    """What the waypoint does on a port where TLSRoutes apply: each name belongs to the oldest Route that has it."""
    taken: set[str] = set()
    rules: list[TLSRule] = []
    for route in {binding.route.key: binding.route for binding in applying}.values():
        if isinstance(route, TLSRoute):
            own = [item for item in dict.fromkeys(server_names(route)) if item not in taken]
            taken.update(own)
            if own:
                rules.append(_rule(view, route, tuple(item for item in own if item)))
    return TLSRouteSet(name, consumer, tuple(rules))


def _rule(view: TrackedView, route: TLSRoute, names: tuple[str, ...]) -> TLSRule:
    meta, rule = route.metadata, route.spec.rules[0]
    return TLSRule(f"{meta.namespace}/{meta.name}/{rule.name or 0}", names, tuple(_backends(view, route)))


def _backends(view: TrackedView, route: TLSRoute) -> Iterator[WeightedBackend]:
    for position, ref in enumerate(route.spec.rules[0].backend_refs):
        if ref.weight:
            found = resolve(view, route, ref, f"spec.rules[0].backendRefs[{position}]")
            backend = None
            if found.service is not None and found.port is not None:
                backend = BackendPort.of(found.service.key, found.port.port, "tcp", found.service.keeps_clients)
            yield WeightedBackend(backend, ref.weight)
