"""TLSRoutes of one port: which server names lead where. What is inside stays closed (passthrough, GEP-2643)."""

from collections.abc import Iterable, Iterator

from agent.ir.http import BackendPort, TLSListenerIR, TLSRule, WeightedBackend
from agent.model.routes import TLSRoute
from agent.store.store import TrackedView
from agent.translate.client_identity import proxy_trust_domain
from agent.translate.routes.binding import Binding, server_names
from agent.translate.routes.references import resolve


def tls_listener_ir(view: TrackedView, name: str, consumer: str, effective: Iterable[Binding]) -> TLSListenerIR:
    """The rules of a port's listener where TLSRoutes apply. Each server name belongs to the oldest Route with it."""
    claimed: set[str] = set()
    rules: list[TLSRule] = []
    for route in {binding.route.key: binding.route for binding in effective}.values():
        if isinstance(route, TLSRoute):
            own = [item for item in dict.fromkeys(server_names(route)) if item not in claimed]
            claimed.update(own)
            if own:
                rules.append(_rule(view, route, tuple(item for item in own if item)))
    return TLSListenerIR(name, consumer, tuple(rules))


def _rule(view: TrackedView, route: TLSRoute, names: tuple[str, ...]) -> TLSRule:
    meta, rule = route.metadata, route.spec.rules[0]
    return TLSRule(f"{meta.namespace}/{meta.name}/{rule.name or 0}", names, tuple(_backends(view, route)))


def _backends(view: TrackedView, route: TLSRoute) -> Iterator[WeightedBackend]:
    for position, ref in enumerate(route.spec.rules[0].backend_refs):
        if ref.weight:
            found = resolve(view, route, ref, f"spec.rules[0].backendRefs[{position}]")
            backend = None
            if found.service is not None and found.port is not None:
                service = found.service
                trust_domain = proxy_trust_domain(view, service)
                affinity = service.has_client_ip_affinity
                backend = BackendPort.of(service.key, found.port.port, "tcp", affinity, trust_domain)
            yield WeightedBackend(backend, ref.weight)
