"""A Service, or an import: its frontends in the kernel, and what the waypoint does on ports where Routes ask for it."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from agent.ir.http import BackendPort, EndpointAddress, HTTPListenerIR, ListenerIR
from agent.ir.plan import FrontendName, FrontendPlan, OnBackendLoss, OnLoss, Output
from agent.ir.requirements import AuditedRequirements, Requirements
from agent.ir.services import service_name
from agent.ir.tables import Mode, Protocol, Slot
from agent.model.core import PROXY_LABEL, Service, ServicePort
from agent.model.meta import Key
from agent.model.multicluster import AnyService, ServiceImport
from agent.model.routes import TCPRoute, UDPRoute
from agent.store.store import TrackedView
from agent.translate.addresses import endpoint_warnings, refused_import, unroutable
from agent.translate.affinity import affinity_seconds, affinity_warnings
from agent.translate.client_identity import identity_warnings, proxy_warnings
from agent.translate.endpoints import backend_endpoints, distribution_warning, read_slices
from agent.translate.enrolment import service_mode
from agent.translate.labels import is_logged, label_warnings
from agent.translate.listener_ir import build_listener_ir
from agent.translate.options import Options
from agent.translate.requirement_size import audit_warnings, bounded, bounded_audits, size_warnings
from agent.translate.requirements import backend_audits, backend_requirements
from agent.translate.routes.binding import Binding, bindings, effective_bindings
from agent.translate.routes.http import read_rules
from agent.translate.routes.l4 import route_slots, service_slots
from agent.translate.rule_requirements import changed_warnings, copies_warnings

Setting = TypeVar("Setting", OnLoss, OnBackendLoss)

ON_LOSS = "weft.dev/on-waypoint-loss"
ON_BACKEND_LOSS = "weft.dev/on-backend-loss"
ANY_CONSUMER = ""

Steps = Iterator[Output | None]
"""A translation in steps of a few milliseconds: None between two, and the output last."""


@dataclass(slots=True)
class _Parts:
    """The parts of an output, while it is built."""

    frontends: dict[FrontendName, FrontendPlan] = field(default_factory=dict)
    listeners: dict[str, ListenerIR] = field(default_factory=dict)
    endpoints: dict[BackendPort, tuple[EndpointAddress, ...]] = field(default_factory=dict)
    requirements: dict[BackendPort, Requirements] = field(default_factory=dict)
    audits: dict[BackendPort, tuple[AuditedRequirements, ...]] = field(default_factory=dict)
    warnings: set[str] = field(default_factory=set)
    logged: set[str] = field(default_factory=set)

    def output(self, warnings: tuple[str, ...]) -> Output:
        """The whole, with these warnings."""
        requirements = bounded(self.listeners.values(), self.requirements)
        audits = bounded_audits(self.listeners.values(), self.audits)
        size = *size_warnings(self.requirements, requirements), *audit_warnings(self.audits, audits)
        return Output(
            frontends=self.frontends,
            listeners=self.listeners,
            endpoints=self.endpoints,
            requirements=requirements,
            audits=audits,
            warnings=(*warnings, *size),
            logged=frozenset(self.logged),
        )


def translate_service(view: TrackedView, key: Key, options: Options) -> Steps:
    """The frontends of a Service for all clients, with the Routes of its own namespace."""
    service = view.service(key)
    if service is None:
        yield Output()
    elif not service.cluster_ips:
        more = (*endpoint_warnings(view, service), *_identity_warnings(view, service))
        yield Output(warnings=(*_proxy_label_warnings(service), *more))
    else:
        parts = _Parts()
        yield from _ports(view, parts, service, ANY_CONSUMER, options)
        _, warnings = service_mode(view, key)
        more = (*parts.warnings, *_warnings(view, service, options), *label_warnings(view, service))
        more = (*more, *_identity_warnings(view, service))
        yield parts.output((*warnings, *more))


def translate_consumer(view: TrackedView, key: Key, consumer: str, options: Options) -> Steps:
    """The frontends of a Service for the clients of a namespace that has Routes for it, on the ports that these cover.

    Apart from those for everybody, so that a change of either does not have the other computed again.
    """
    service = view.service(key)
    parts = _Parts()
    if service is not None and service.cluster_ips:
        yield from _ports(view, parts, service, consumer, options)
    yield parts.output(tuple(parts.warnings))


def _ports(view: TrackedView, parts: _Parts, service: AnyService, consumer: str, options: Options) -> Iterator[None]:
    """What becomes of every port for one group of clients; a step each."""
    yield from read_slices(view, service)
    judged = view.has_service_policies(service.key)
    # Policies of the level Application close its pods to all clients that no waypoint judges.
    mode = Mode.L7 if judged else service_mode(view, service.key)[0]
    bound = bindings(view, service.key, consumer or service.key.namespace)
    for port in service.spec.ports:
        effective = effective_bindings(bound, port)
        if port.protocol not in Protocol.__members__:
            continue
        if effective or (consumer == ANY_CONSUMER and _has_slices(view, service)):
            yield from read_rules(view, effective)
            yield
            _port(view, parts, _Frontend(service, port, consumer, mode), effective, options)


def _has_slices(view: TrackedView, service: AnyService) -> bool:
    """Whether a Service's endpoints can be known. For an import without slices they may be elsewhere: it gets frontends
    where Routes apply only, and the controller that made the import handles its other traffic.
    """
    return isinstance(service, Service) or bool(view.slices(service.key))


def _proxy_label_warnings(service: AnyService) -> tuple[str, ...]:
    """A warning where the label of another proxy is the reason that a Service has no frontend."""
    labelled = PROXY_LABEL in service.metadata.labels
    return (f"{service.key}: metadata.labels: weft ignores it, it {service.without_frontend}",) if labelled else ()


@dataclass(frozen=True, slots=True)
class _Frontend:
    """A port of a Service as one group of clients sees it."""

    service: AnyService
    port: ServicePort
    consumer: str
    mode: Mode

    @property
    def name(self) -> str:
        """The listener's name."""
        name = f"{service_name(self.service.key)}:{self.port.port}"
        return f"{name}@{self.consumer}" if self.consumer else name


def _port(view: TrackedView, parts: _Parts, front: _Frontend, effective: list[Binding], options: Options) -> None:
    listener_name = None
    rules = _rules(view, front, effective)
    if rules is not None:
        listener_name = front.name
        parts.listeners[front.name] = rules
        for item in rules.backends:
            parts.endpoints[item] = backend_endpoints(view, item, options)
            requirements = backend_requirements(view, parts.endpoints[item])
            parts.requirements |= {item: requirements} if requirements else {}
            audits = backend_audits(view, item, parts.endpoints[item])
            parts.audits |= {item: audits} if audits else {}
        parts.warnings |= {*affinity_warnings(front.service, rules), *proxy_warnings(front.service, rules)}
        if isinstance(rules, HTTPListenerIR):
            parts.warnings |= set(copies_warnings(rules.rules, parts.requirements))
            parts.warnings |= set(changed_warnings(rules.rules, parts.requirements))
        namespace = front.service.metadata.namespace
        parts.logged |= {namespace} if is_logged(view, namespace) else set()
    judged = view.has_service_policies(front.service.key)
    for address in _own_addresses(view, front.service, options):
        name = FrontendName(address, front.port.port, Protocol[front.port.protocol], front.consumer)
        parts.frontends[name] = FrontendPlan(
            service=front.service.key,
            mode=front.mode,
            slots=_slots(view, front, effective, ipaddress.ip_address(address).version, options),
            listener=listener_name,
            on_loss=_setting(front.service, ON_LOSS, OnLoss.REJECT if effective or judged else OnLoss.KERNEL),
            on_backend_loss=_setting(front.service, ON_BACKEND_LOSS, OnBackendLoss.KEEP),
            affinity_seconds=affinity_seconds(front.service),
            routes=tuple(dict.fromkeys(binding.route.key for binding in effective)),
        )


def _rules(view: TrackedView, front: _Frontend, effective: list[Binding]) -> ListenerIR | None:
    """What the waypoint does on the port; None where it gets no traffic, or this node has no client that goes there."""
    if not _is_used(view, front):
        return None
    return build_listener_ir(view, front.service, front.port, front.name, front.consumer, effective)


def _own_addresses(view: TrackedView, service: AnyService, options: Options) -> list[str]:
    """The Service's virtual addresses, without those that it may not have."""
    return [address for address in service.cluster_ips if not _unused(view, service, address, options)]


def _unused(view: TrackedView, service: AnyService, address: str, options: Options) -> str:
    """Why the Service may not have an address, empty when it may. API servers check cluster IPs, but no import's."""
    if unroutable(address):
        return "traffic there is never translated"
    owner = view.service_at(address)
    if owner is not None and owner.key != service.key:
        return f"{owner.key} has it"
    return refused_import(view, service, address, options) if isinstance(service, ServiceImport) else ""


def _is_used(view: TrackedView, front: _Frontend) -> bool:
    """Whether a client of this node goes to the waypoint: the deeper mode of client and Service decides."""
    depth = view.computed("depth", front.consumer)
    return isinstance(depth, Mode) and depth is not Mode.NONE and max(depth, front.mode) is Mode.L7


def _slots(
    view: TrackedView, front: _Frontend, effective: list[Binding], version: int, options: Options
) -> tuple[Slot, ...]:
    route = effective[0].route if effective else None
    if isinstance(route, TCPRoute | UDPRoute):
        return route_slots(view, route, version, options)
    return service_slots(view, front.service, front.port, version, options)


def _setting(service: AnyService, annotation: str, default: Setting) -> Setting:
    """The value of an annotation; the default where it has none of the values, which `_warnings` reports."""
    kind = type(default)
    text = service.metadata.annotations.get(annotation, "")
    return kind(text) if text in tuple(kind) else default


def _identity_warnings(view: TrackedView, service: AnyService) -> Iterator[str]:
    return identity_warnings(view, service, _setting(service, ON_LOSS, OnLoss.REJECT))


def _address_warnings(view: TrackedView, service: AnyService, options: Options) -> Iterator[str]:
    """Addresses of a Service that are not used.

    There is no warning for a Service that a multi-cluster controller derived from an import for the import's address,
    while no Route refers to it.
    """
    field = "spec.ips" if isinstance(service, ServiceImport) else "spec.clusterIPs"
    for address in service.cluster_ips:
        reason = _unused(view, service, address, options)
        derived = isinstance(service, Service) and isinstance(view.service_at(address), ServiceImport)
        if reason and (view.has_routes(service.key) or not derived):
            yield f"{service.key}: {field}: {address} is not used: {reason}"


def _warnings(view: TrackedView, service: AnyService, options: Options) -> Iterator[str]:
    """Settings of the Service that have no effect, or another one than its user may expect."""
    key, meta = service.key, service.metadata
    if service.spec.internal_traffic_policy == "Local" and not options.node:
        yield f"{key}: spec.internalTrafficPolicy: Local is not used: this node's name is unknown"
    distribution = distribution_warning(view, service, options)
    if distribution:
        yield distribution
    yield from _address_warnings(view, service, options)
    yield from endpoint_warnings(view, service)
    for position, port in enumerate(service.spec.ports):
        if port.protocol not in Protocol.__members__:
            yield f"{key}: spec.ports[{position}].protocol: weft ignores {port.protocol[:20]!a}"
    for annotation, default in ((ON_LOSS, OnLoss.REJECT), (ON_BACKEND_LOSS, OnBackendLoss.KEEP)):
        choices, text = tuple(type(default)), meta.annotations.get(annotation)
        if text is not None and text not in choices:
            message = f"{text[:40]!r} is neither {' nor '.join(choices)}; {default} is used"
            yield f"{key}: metadata.annotations[{annotation}]: {message}"
    if any(found.address_type == "FQDN" for found in view.slices(key)):
        yield f"{key}: EndpointSlices of addressType FQDN are not used"
