"""Which Routes apply to a Service's ports, and for whom (GEP-1294).

A Route in the Service's namespace is a producer route: it applies to every client. A Route in another namespace is a
consumer route: it applies to clients of that namespace only, and replaces the producer routes on the ports that it
covers. In each of these groups Routes of one kind apply to a port.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from agent.model.core import ServicePort
from agent.model.meta import Key
from agent.model.multicluster import AnyService
from agent.model.routes import AnyRoute, GRPCRoute, HTTPRoute, ParentReference, TCPRoute, TLSRoute, UDPRoute
from agent.store.parents import parent_services
from agent.store.store import TrackedView
from agent.translate.field_errors import TOO_LARGE
from agent.translate.ports import PortKind, may_be_http, port_kind
from agent.translate.routes.size import MAX_PORT_BYTES
from agent.translate.routes.validate import Checked, check

# On one port the first of these takes effect (GEP-1294, "Route type specificity"). UDP ports are a separate set.
RANK: tuple[type[AnyRoute], ...] = (GRPCRoute, HTTPRoute, TLSRoute, TCPRoute, UDPRoute)
MERGED = (GRPCRoute, HTTPRoute)
# Several of one of these kinds share a port.
ALONGSIDE = (*MERGED, TLSRoute)


@dataclass(frozen=True, slots=True)
class Binding:
    """One parentRef of a Route that names a Service.

    - `ports`: the ports that it covers.
    - `skipped_ports`: ports that a parentRef without a port does not cover, because of their `appProtocol` or name.
    - `conflicts`: covered ports where another Route applies, each with that Route.
    - `claimed_hostnames`: server names of a TLSRoute that an older one has on a port where this one applies, with it.
    - `reason`, `message`: why it is not accepted; empty when it is.
    """

    route: AnyRoute
    position: int
    ref: ParentReference
    checked: Checked
    ports: tuple[ServicePort, ...] = ()
    skipped_ports: tuple[ServicePort, ...] = ()
    conflicts: tuple[tuple[ServicePort, Key], ...] = ()
    claimed_hostnames: tuple[tuple[str, Key], ...] = ()
    reason: str = ""
    message: str = ""

    @property
    def effective_ports(self) -> tuple[ServicePort, ...]:
        """The ports where this Route applies."""
        gone = {port for port, _ in self.conflicts}
        return () if self.reason else tuple(port for port in self.ports if port not in gone)


class PortRoutes:
    """The Routes that cover a port for the same clients: the oldest of each kind, and of each server name.

    Each Route is looked at once, since a port may have a thousand.
    """

    def __init__(self) -> None:
        self.oldest: dict[type[AnyRoute], AnyRoute] = {}
        self.owners: dict[str, TLSRoute] = {}

    def add(self, route: AnyRoute) -> None:
        """Add a Route that is younger than those added before."""
        self.oldest.setdefault(type(route), route)
        if isinstance(route, TLSRoute):
            for name in server_names(route):
                self.owners.setdefault(name, route)


ConflictIndex = dict[ServicePort, PortRoutes]
"""Of the Routes of one namespace."""
Bound = dict[tuple[Key, int], Binding]


def bindings(view: TrackedView, key: Key, namespace: str) -> list[Binding]:
    """Every parentRef, of the Routes in a namespace, that names this Service or ServiceImport; after validation and
    conflicts. Routes of other namespaces have no part in it: they apply to other clients.
    """
    return list(_bound(view, key, namespace).values())


def binding_of(view: TrackedView, key: Key, route: Key, position: int) -> Binding:
    """One of them: that of a Route's parentRef."""
    return _bound(view, key, route.namespace)[route, position]


def _bound(view: TrackedView, key: Key, namespace: str) -> Bound:
    """By Route and position. Each Route of a Service needs them; they are computed once."""
    if not view.has_routes(key, namespace):
        return {}
    return view.memo(("bindings", *key, namespace), lambda own: _bind_all(own, key, namespace))


def _bind_all(view: TrackedView, key: Key, namespace: str) -> Bound:
    service = view.service(key)
    found = [
        _bind(route, _checked(view, route), position, ref, service, key)
        for route in view.routes(key, namespace)
        for position, ref, parent in parent_services(route)
        if parent == key
    ]
    found = _within_size(found)
    index = _conflict_index(found)
    return {(item.route.key, item.position): _with_conflicts(item, index) for item in found}


def _within_size(found: Iterable[Binding]) -> list[Binding]:
    """The bindings, oldest Route first, without those that are too much on a port beside the older ones."""
    used: Counter[ServicePort] = Counter()
    kept = []
    for binding in sorted(found, key=lambda item: (item.route.age, item.position)):
        size = binding.checked.bytes
        over = next((port for port in binding.ports if used[port] + size > MAX_PORT_BYTES), None)
        if over is None:
            used.update(dict.fromkeys(binding.ports, size))
            kept.append(binding)
        else:
            message = f"port {over.port} has Routes of {used[over]} bytes of Envoy's configuration, this one has {size}"
            kept.append(_refused(binding, TOO_LARGE, f"{message}, and there may be {MAX_PORT_BYTES}"))
    return kept


def effective_bindings(bound: Iterable[Binding], port: ServicePort) -> list[Binding]:
    """The bindings of one namespace that apply on a port; one kind, oldest first."""
    return sorted((b for b in bound if port in b.effective_ports), key=lambda b: b.route.age)


def _checked(view: TrackedView, route: AnyRoute) -> Checked:
    """What of a Route can be done, found out once for each version of it: its expressions are compiled for that."""

    def make(own: TrackedView) -> Checked:
        own.route(route.key)  # what the answer is made of
        return check(route)

    return view.memo(("checked", *route.key), make)


def _bind(
    route: AnyRoute, checked: Checked, position: int, ref: ParentReference, service: AnyService | None, key: Key
) -> Binding:
    binding = Binding(route, position, ref, checked)
    reason, message = _parent_error(service, key)
    if reason or service is None:
        return _refused(binding, reason, message)
    named = [port for port in _protocol_ports(route, service) if _named(ref, port)]
    if not named:
        return _refused(binding, "NoMatchingParent", f"{key} has no {_wanted(route, ref)}")
    if not checked.valid:
        return _refused(binding, *_first_error(checked))
    explicit = ref.port is not None or ref.section_name is not None
    covered = tuple(port for port in named if explicit or _covers(route, port))
    skipped_ports = tuple(port for port in named if port not in covered)
    if not covered:
        return _refused(
            binding,
            "NoMatchingParent",
            f"{key} has no port for {required_protocol(route)}; a parentRef with a port binds to it anyway",
        )
    return Binding(route, position, ref, checked, covered, skipped_ports)


def _refused(binding: Binding, reason: str, message: str) -> Binding:
    return replace(binding, reason=reason, message=message)


def _parent_error(service: AnyService | None, key: Key) -> tuple[str, str]:
    if service is None:
        return "NoMatchingParent", f"{key} does not exist"
    if service.without_frontend:
        return "NoMatchingParent", f"{key} {service.without_frontend} and has no frontend"
    return "", ""


def _first_error(checked: Checked) -> tuple[str, str]:
    """Why no rule can be implemented: the first reason, and every error."""
    if not checked.errors:
        return "UnsupportedValue", "spec.rules: is empty"
    return checked.errors[0][1].reason, "; ".join(str(error) for _, error in checked.errors)


def _protocol_ports(route: AnyRoute, service: AnyService) -> Iterator[ServicePort]:
    wanted = "UDP" if isinstance(route, UDPRoute) else "TCP"
    return (port for port in service.spec.ports if port.protocol == wanted)


def _named(ref: ParentReference, port: ServicePort) -> bool:
    """Whether the reference names this port: by number, by name, or by both (ParentReference.sectionName)."""
    return ref.port in (None, port.port) and ref.section_name in (None, port.name)


def _wanted(route: AnyRoute, ref: ParentReference) -> str:
    protocol = "UDP" if isinstance(route, UDPRoute) else "TCP"
    number = f" {ref.port}" if ref.port is not None else ""
    name = f" named {ref.section_name!r}" if ref.section_name is not None else ""
    return f"{protocol} port{number}{name}"


def _covers(route: AnyRoute, port: ServicePort) -> bool:
    """Whether a parentRef without a port covers this one: the port must not be marked as another protocol."""
    if isinstance(route, MERGED):
        return may_be_http(port)
    return not isinstance(route, TLSRoute) or port_kind(port) in (PortKind.TLS, PortKind.UNMARKED)


def required_protocol(route: AnyRoute) -> str:
    """The protocol that a connection must have for this Route, for messages."""
    return "TLS" if isinstance(route, TLSRoute) else "HTTP"


def server_names(route: TLSRoute) -> tuple[str, ...]:
    """The names of a TLSRoute; the empty one stands for any."""
    return route.spec.hostnames or ("",)


def _conflict_index(found: Iterable[Binding]) -> ConflictIndex:
    """Every accepted Route, by the ports that it covers."""
    index: ConflictIndex = defaultdict(PortRoutes)
    for binding in sorted(found, key=lambda item: item.route.age):
        for port in () if binding.reason else binding.ports:
            index[port].add(binding.route)
    return index


def _with_conflicts(binding: Binding, index: ConflictIndex) -> Binding:
    """The binding with its conflicts: with Routes of a more specific kind, and with older Routes of its kind."""
    found = ((port, _conflicting_route(binding, port, index)) for port in binding.ports)
    conflicts = tuple((port, other) for port, other in found if other is not None)
    changed = replace(binding, conflicts=conflicts)
    if not conflicts or changed.effective_ports:
        return replace(changed, claimed_hostnames=tuple(_claimed_hostnames(changed, index)))
    others = ", ".join(sorted({str(key) for _, key in conflicts}))
    message = f"on every port that it covers another Route applies: {others}"
    return replace(changed, reason="Conflicted", message=message)


def _conflicting_route(binding: Binding, port: ServicePort, index: ConflictIndex) -> Key | None:
    """The Route that applies to this port instead: one of a more specific kind; for kinds that do not merge an older
    one; None where there is none.
    """
    route, routes = binding.route, index[port]
    kind = type(route)
    found = [routes.oldest[item] for item in RANK[: RANK.index(kind)] if item in routes.oldest]
    if kind not in ALONGSIDE:
        found += [other for other in (routes.oldest.get(kind),) if other is not None and other.age < route.age]
    return found[0].key if found else _shadowing_route(route, routes)


def _shadowing_route(route: AnyRoute, routes: PortRoutes) -> Key | None:
    """The oldest of the older TLSRoutes that together have every name of this one; None where they do not."""
    owners = _owners(route, routes)
    if not isinstance(route, TLSRoute) or owners.keys() < set(server_names(route)):
        return None
    return min(owners.values(), key=lambda owner: owner.age).key


def _claimed_hostnames(binding: Binding, index: ConflictIndex) -> Iterator[tuple[str, Key]]:
    """Server names that older TLSRoutes have on a port where this one applies."""
    found = {
        (name, owner.key)
        for port in binding.effective_ports
        for name, owner in _owners(binding.route, index[port]).items()
    }
    yield from sorted(found)


def _owners(route: AnyRoute, routes: PortRoutes) -> dict[str, TLSRoute]:
    """The oldest TLSRoute with each of this one's names, without names that no older one has."""
    names = server_names(route) if isinstance(route, TLSRoute) else ()
    found = {name: routes.owners[name] for name in names if name in routes.owners}
    return {name: owner for name, owner in found.items() if owner.age < route.age}
