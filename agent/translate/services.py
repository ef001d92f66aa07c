"""A Service, or an import: its frontends in the kernel, and what the waypoint does on ports where Routes ask for it."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from agent.ir.http import Address, BackendPort, RouteSet, TLSRouteSet
from agent.ir.plan import Fragment, FrontendName, FrontendPlan, OnBackendLoss, OnLoss
from agent.ir.services import service_name
from agent.ir.tables import Mode, Protocol, Slot
from agent.model.core import PROXY_LABEL, Service, ServicePort
from agent.model.meta import Key
from agent.model.multicluster import AnyService, ServiceImport
from agent.model.routes import TCPRoute, UDPRoute
from agent.store.store import TrackedView
from agent.translate.addresses import endpoint_warnings, refused_import, unroutable
from agent.translate.affinity import affinity_seconds, affinity_warnings
from agent.translate.endpoints import backend_endpoints, distribution_warning
from agent.translate.enrolment import service_mode
from agent.translate.labels import label_warnings
from agent.translate.options import Options
from agent.translate.routes.binding import Binding, bindings, consumers, winners
from agent.translate.routes.l4 import route_slots, service_slots
from agent.translate.rules import port_rules

Setting = TypeVar("Setting", OnLoss, OnBackendLoss)

ON_LOSS = "weft.dev/on-waypoint-loss"
ON_BACKEND_LOSS = "weft.dev/on-backend-loss"
EVERYBODY = ""


@dataclass(slots=True)
class _Parts:
    """A fragment in the making."""

    frontends: dict[FrontendName, FrontendPlan] = field(default_factory=dict)
    route_sets: dict[str, RouteSet | TLSRouteSet] = field(default_factory=dict)
    endpoints: dict[BackendPort, tuple[Address, ...]] = field(default_factory=dict)
    warnings: set[str] = field(default_factory=set)


def translate_service(view: TrackedView, key: Key, options: Options) -> Fragment:
    """Every frontend of a Service, for everybody and for each namespace with routes of its own."""
    service = view.service(key)
    if service is None:
        return Fragment()
    if not service.cluster_ips:
        return Fragment(warnings=(*_left_alone(service), *endpoint_warnings(view, service)))
    mode, warnings = service_mode(view, key)
    bound = bindings(view, key)
    parts = _Parts()
    for port in service.spec.ports:
        if port.protocol not in Protocol.__members__:
            continue
        for consumer in (EVERYBODY, *consumers(bound, key.namespace)):
            applying = winners(bound, port, consumer, key.namespace)
            if applying or (consumer == EVERYBODY and _has_slices(view, service)):
                _port(view, parts, _Frontend(service, port, consumer, mode), applying, options)
    warnings = (*warnings, *parts.warnings, *_warnings(view, service, options), *label_warnings(view, service))
    return Fragment(
        frontends=parts.frontends, route_sets=parts.route_sets, endpoints=parts.endpoints, warnings=warnings
    )


def _has_slices(view: TrackedView, service: AnyService) -> bool:
    """Whether a Service's own endpoints can be known. Of an import without any slice that is not certain: only Routes
    make anything of it, the rest goes where its maker sends it.
    """
    return isinstance(service, Service) or bool(view.slices(service.key))


def _left_alone(service: AnyService) -> tuple[str, ...]:
    """That a Service has no frontend goes without saying, but where a label is the cause."""
    named = PROXY_LABEL in service.metadata.labels
    return (f"{service.key}: metadata.labels: weft leaves it alone, it {service.without_frontend}",) if named else ()


@dataclass(frozen=True, slots=True)
class _Frontend:
    """A port of a Service as one group of clients sees it."""

    service: AnyService
    port: ServicePort
    consumer: str
    mode: Mode

    @property
    def name(self) -> str:
        """The route set's and listener's name."""
        name = f"{service_name(self.service.key)}:{self.port.port}"
        return f"{name}@{self.consumer}" if self.consumer else name


def _port(view: TrackedView, parts: _Parts, front: _Frontend, applying: list[Binding], options: Options) -> None:
    listener_name = None
    rules = _rules(view, front, applying)
    if rules is not None:
        listener_name = front.name
        parts.route_sets[front.name] = rules
        parts.endpoints |= {item: tuple(backend_endpoints(view, item, options)) for item in rules.backends}
        parts.warnings |= set(affinity_warnings(front.service, rules))
    for address in _own_addresses(view, front.service, options):
        name = FrontendName(address, front.port.port, Protocol[front.port.protocol], front.consumer)
        parts.frontends[name] = FrontendPlan(
            service=front.service.key,
            mode=front.mode,
            slots=_slots(view, front, applying, ipaddress.ip_address(address).version, options),
            listener=listener_name,
            on_loss=_setting(front.service, ON_LOSS, OnLoss.REJECT if applying else OnLoss.KERNEL),
            on_backend_loss=_setting(front.service, ON_BACKEND_LOSS, OnBackendLoss.KEEP),
            affinity_seconds=affinity_seconds(front.service),
            routes=tuple(dict.fromkeys(binding.route.key for binding in applying)),
        )


def _rules(view: TrackedView, front: _Frontend, applying: list[Binding]) -> RouteSet | TLSRouteSet | None:
    """What the waypoint does on the port; None where nobody asks it for anything, or no client would go there."""
    if not _is_used(view, front):
        return None
    return port_rules(view, front.service, front.port, front.name, front.consumer, applying)


def _own_addresses(view: TrackedView, service: AnyService, options: Options) -> list[str]:
    """The Service's virtual addresses that it may have."""
    return [address for address in service.cluster_ips if not _unused(view, service, address, options)]


def _unused(view: TrackedView, service: AnyService, address: str, options: Options) -> str:
    """Why an address is not the Service's, empty when it is. An API server sees to cluster IPs, to no import's."""
    if unroutable(address):
        return "traffic there is never translated"
    owner = view.service_at(address)
    if owner is not None and owner.key != service.key:
        return f"{owner.key} has it"
    return refused_import(view, service, address, options) if isinstance(service, ServiceImport) else ""


def _is_used(view: TrackedView, front: _Frontend) -> bool:
    """Whether a client of this node would go to the waypoint: the deeper end of a connection decides."""
    depth = view.computed("depth", front.consumer)
    return isinstance(depth, Mode) and depth is not Mode.NONE and max(depth, front.mode) is Mode.L7


def _slots(
    view: TrackedView, front: _Frontend, applying: list[Binding], version: int, options: Options
) -> tuple[Slot, ...]:
    route = applying[0].route if applying else None
    if isinstance(route, TCPRoute | UDPRoute):
        return route_slots(view, route, version, options)
    return service_slots(view, front.service, front.port, version, options)


def _setting(service: AnyService, annotation: str, default: Setting) -> Setting:
    """A choice that an annotation makes; what is none of the choices is told by `_warnings`."""
    kind = type(default)
    text = service.metadata.annotations.get(annotation, "")
    return kind(text) if text in tuple(kind) else default


def _address_warnings(view: TrackedView, service: AnyService, options: Options) -> Iterator[str]:
    """Addresses that a Service says and does not get.

    Nothing is said of a Service that whoever makes imports derived from one, for its address: nobody refers to it.
    """
    field = "spec.ips" if isinstance(service, ServiceImport) else "spec.clusterIPs"
    for address in service.cluster_ips:
        why = _unused(view, service, address, options)
        derived = isinstance(service, Service) and isinstance(view.service_at(address), ServiceImport)
        if why and (view.routes(service.key) or not derived):
            yield f"{service.key}: {field}: {address} is not used: {why}"


def _warnings(view: TrackedView, service: AnyService, options: Options) -> Iterator[str]:
    """What a user may expect of this Service and does not get."""
    key, meta = service.key, service.metadata
    if service.spec.internal_traffic_policy == "Local" and not options.node:
        yield f"{key}: spec.internalTrafficPolicy: Local is not used: this node's name is not known"
    distribution = distribution_warning(view, service, options)
    if distribution:
        yield distribution
    yield from _address_warnings(view, service, options)
    yield from endpoint_warnings(view, service)
    for position, port in enumerate(service.spec.ports):
        if port.protocol not in Protocol.__members__:
            yield f"{key}: spec.ports[{position}].protocol: weft leaves {port.protocol[:20]!a} alone"
    for annotation, default in ((ON_LOSS, OnLoss.REJECT), (ON_BACKEND_LOSS, OnBackendLoss.KEEP)):
        choices, text = tuple(type(default)), meta.annotations.get(annotation)
        if text is not None and text not in choices:
            said = f"{text[:40]!r} is neither {' nor '.join(choices)}; {default} is used"
            yield f"{key}: metadata.annotations[{annotation}]: {said}"
    if any(found.address_type == "FQDN" for found in view.slices(key)):
        yield f"{key}: EndpointSlices of addressType FQDN are not used"
