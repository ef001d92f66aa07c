"""The objects that backendRefs refer to. A mesh needs no ReferenceGrant for them (GEP-1294): a client can connect to
every Service anyway.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.model.core import ServicePort
from agent.model.filters import BackendObjectReference
from agent.model.meta import Key
from agent.model.multicluster import AnyService
from agent.model.routes import (
    AnyRoute,
    FilteredBackendRef,
    GRPCRoute,
    GRPCRouteRule,
    HTTPRoute,
    HTTPRouteRule,
    L4RouteRule,
    UDPRoute,
)
from agent.store.parents import is_service
from agent.store.store import TrackedView
from agent.translate.filters.registry import filter_references
from agent.translate.ports import TLS


@dataclass(frozen=True, slots=True)
class ResolvedBackend:
    """The result of looking a backendRef up: the Service's port, or a condition's reason and message."""

    service: AnyService | None = None
    port: ServicePort | None = None
    reason: str = ""
    message: str = ""


def references(route: AnyRoute) -> Iterator[tuple[str, BackendObjectReference]]:
    """Every reference of a Route with its JSON path: to its backends, and to those of its filters."""
    rules: tuple[HTTPRouteRule | GRPCRouteRule | L4RouteRule, ...] = route.spec.rules
    for index, rule in enumerate(rules):
        field = f"spec.rules[{index}]"
        for position, ref in enumerate(rule.backend_refs):
            yield f"{field}.backendRefs[{position}]", ref
            if isinstance(ref, FilteredBackendRef):
                yield from filter_references(f"{field}.backendRefs[{position}]", ref.filters)
        if not isinstance(rule, L4RouteRule):
            yield from filter_references(field, rule.filters)


def resolve(view: TrackedView, route: AnyRoute, ref: BackendObjectReference, field: str) -> ResolvedBackend:
    """Look a Route's backendRef up; `field` is its JSON path for messages."""
    if not is_service(ref.group, ref.kind):
        message = f"{field}: {ref.group or 'core'}/{ref.kind} is neither a Service nor a ServiceImport"
        return ResolvedBackend(reason="InvalidKind", message=message)
    key = Key(ref.kind, ref.namespace or route.metadata.namespace, ref.name)
    service = view.service(key)
    if service is None:
        return ResolvedBackend(reason="BackendNotFound", message=f"{field}: {key} does not exist")
    if service.without_endpoints:
        message = f"{field}: {key} {service.without_endpoints}, it has no endpoints"
        return ResolvedBackend(reason="BackendNotFound", message=message)
    if ref.port is None:
        return ResolvedBackend(reason="BackendNotFound", message=f"{field}.port: is required for a {ref.kind}")
    return _resolve_port(service, route, ref.port, f"{field}.port: {key}")


def _resolve_port(service: AnyService, route: AnyRoute, number: int, subject: str) -> ResolvedBackend:
    """The port of that number and the Route's protocol: TCP and UDP may share a number."""
    protocol = "UDP" if isinstance(route, UDPRoute) else "TCP"
    ports = [port for port in service.spec.ports if port.port == number]
    port = next((port for port in ports if port.protocol == protocol), None)
    if not ports:
        return ResolvedBackend(reason="BackendNotFound", message=f"{subject} has no port {number}")
    if port is None:
        return ResolvedBackend(reason="UnsupportedProtocol", message=f"{subject} port {number} is {ports[0].protocol}")
    # GEP-1911: the waypoint connects to backends in clear text, which a TLS port does not take.
    if isinstance(route, HTTPRoute | GRPCRoute) and port.app_protocol.lower() in TLS:
        return ResolvedBackend(reason="UnsupportedProtocol", message=f"{subject} port {number} is {port.app_protocol}")
    return ResolvedBackend(service, port)
