"""Which Routes apply to a Service's ports, and for whom (GEP-1294).

A Route in the Service's namespace is a producer's: for every client. A Route in another namespace is a consumer's: for
clients of that namespace only, where it replaces the producers' routes on the ports that it covers. Inside each of
these groups one kind wins each port.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from agent.model.core import ServicePort
from agent.model.meta import Key
from agent.model.multicluster import AnyService
from agent.model.routes import AnyRoute, GRPCRoute, HTTPRoute, ParentReference, TCPRoute, TLSRoute, UDPRoute
from agent.store.parents import parent_services
from agent.store.store import TrackedView
from agent.translate.ports import PortKind, port_kind
from agent.translate.routes.validate import Checked, check

# On one port the first of these wins (GEP-1294, "Route type specificity"). UDP ports are a separate set.
RANK: tuple[type[AnyRoute], ...] = (GRPCRoute, HTTPRoute, TLSRoute, TCPRoute, UDPRoute)
MERGED = (GRPCRoute, HTTPRoute)
# Several of one of these kinds share a port.
ALONGSIDE = (*MERGED, TLSRoute)


@dataclass(frozen=True, slots=True)
class Binding:
    """One parentRef of a Route that names a Service.

    `ports` are those it covers, `passed_over` those that a port-less Route leaves alone because they are marked as
    something else. `lost` are covered ports where another Route won, with that Route; `taken` are server names of a
    TLSRoute that an older one has on a port where this one applies. `reason` is empty while nothing speaks against it.
    """

    route: AnyRoute
    position: int
    ref: ParentReference
    checked: Checked
    ports: tuple[ServicePort, ...] = ()
    passed_over: tuple[ServicePort, ...] = ()
    lost: tuple[tuple[ServicePort, Key], ...] = ()
    taken: tuple[tuple[str, Key], ...] = ()
    reason: str = ""
    message: str = ""

    @property
    def won(self) -> tuple[ServicePort, ...]:
        """The ports where this Route applies."""
        gone = {port for port, _ in self.lost}
        return () if self.reason else tuple(port for port in self.ports if port not in gone)


class Rivals:
    """The Routes that cover a port for the same clients, told from the oldest on: the oldest of each kind, and of each
    server name. One look for each Route, since a port may have a thousand.
    """

    def __init__(self) -> None:
        self.oldest: dict[type[AnyRoute], AnyRoute] = {}
        self.owners: dict[str, TLSRoute] = {}

    def add(self, route: AnyRoute) -> None:
        """One that is younger than those before."""
        self.oldest.setdefault(type(route), route)
        if isinstance(route, TLSRoute):
            for name in server_names(route):
                self.owners.setdefault(name, route)


Arena = dict[tuple[str, ServicePort], Rivals]
"""By the Routes' namespace and the port."""
Bound = dict[tuple[Key, int], Binding]


def bindings(view: TrackedView, key: Key) -> list[Binding]:
    """Every parentRef of every Route that names this Service or ServiceImport, after validation and conflicts."""
    return list(_bound(view, key).values())


def binding_of(view: TrackedView, key: Key, route: Key, position: int) -> Binding:
    """One of them: that of a Route's parentRef."""
    return _bound(view, key)[route, position]


def _bound(view: TrackedView, key: Key) -> Bound:
    """By Route and position. What applies to a Service is asked for by each of its Routes, and found out once."""
    return view.memo(("bindings", *key), lambda own: _bind_all(own, key)) if view.has_routes(key) else {}


def _bind_all(view: TrackedView, key: Key) -> Bound:
    service = view.service(key)
    found = [
        _bind(route, position, ref, service, key)
        for route in view.routes(key)
        for position, ref, parent in parent_services(route)
        if parent == key
    ]
    arena = _arena(found)
    return {(item.route.key, item.position): _with_conflicts(item, arena) for item in found}


def winners(bound: Iterable[Binding], port: ServicePort, consumer: str, owner: str) -> list[Binding]:
    """The bindings that apply on a port for clients of `consumer` (empty: everybody else); one kind, oldest first.

    `owner` is the Service's namespace.
    """
    group = consumer or owner
    found = [b for b in bound if b.route.metadata.namespace == group and port in b.won]
    return sorted(found, key=lambda b: b.route.age)


def consumers(bound: Iterable[Binding], owner: str) -> list[str]:
    """Namespaces whose clients have routes of their own here."""
    return sorted({b.route.metadata.namespace for b in bound if b.won} - {owner})


def _bind(route: AnyRoute, position: int, ref: ParentReference, service: AnyService | None, key: Key) -> Binding:
    checked = check(route)
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
    passed_over = tuple(port for port in named if port not in covered)
    if not covered:
        return _refused(
            binding,
            "NoMatchingParent",
            f"{key} has no port for {what_it_reads(route)}; a Route can name one all the same",
        )
    return Binding(route, position, ref, checked, covered, passed_over)


def _refused(binding: Binding, reason: str, message: str) -> Binding:
    return replace(binding, reason=reason, message=message)


def _parent_error(service: AnyService | None, key: Key) -> tuple[str, str]:
    if service is None:
        return "NoMatchingParent", f"{key} is not there"
    if service.without_frontend:
        return "NoMatchingParent", f"{key} {service.without_frontend} and has no frontend"
    return "", ""


def _first_error(checked: Checked) -> tuple[str, str]:
    """Why no rule can be done: the first reason, and every error."""
    if not checked.errors:
        return "UnsupportedValue", "spec.rules: is empty"
    return checked.errors[0][1].reason, "; ".join(str(error) for _, error in checked.errors)


def _protocol_ports(route: AnyRoute, service: AnyService) -> Iterator[ServicePort]:
    wanted = "UDP" if isinstance(route, UDPRoute) else "TCP"
    return (port for port in service.spec.ports if port.protocol == wanted)


def _named(ref: ParentReference, port: ServicePort) -> bool:
    """Whether the reference means this port: by number, by name, or by both (ParentReference.sectionName)."""
    return ref.port in (None, port.port) and ref.section_name in (None, port.name)


def _wanted(route: AnyRoute, ref: ParentReference) -> str:
    protocol = "UDP" if isinstance(route, UDPRoute) else "TCP"
    number = f" {ref.port}" if ref.port is not None else ""
    name = f" named {ref.section_name!r}" if ref.section_name is not None else ""
    return f"{protocol} port{number}{name}"


def _covers(route: AnyRoute, port: ServicePort) -> bool:
    """Whether a Route without a port covers this one: what a Route reads must not be marked as something else."""
    if isinstance(route, MERGED):
        return port_kind(port) in (PortKind.HTTP, PortKind.UNMARKED)
    return not isinstance(route, TLSRoute) or port_kind(port) in (PortKind.TLS, PortKind.UNMARKED)


def what_it_reads(route: AnyRoute) -> str:
    """What a connection has to carry for this Route, for messages."""
    return "TLS" if isinstance(route, TLSRoute) else "HTTP"


def server_names(route: TLSRoute) -> tuple[str, ...]:
    """The names of a TLSRoute; the empty one stands for any."""
    return route.spec.hostnames or ("",)


def _arena(found: Iterable[Binding]) -> Arena:
    """Every Route that can be done, where it would apply."""
    arena: Arena = defaultdict(Rivals)
    for binding in sorted(found, key=lambda item: item.route.age):
        for port in () if binding.reason else binding.ports:
            arena[binding.route.metadata.namespace, port].add(binding.route)
    return arena


def _with_conflicts(binding: Binding, arena: Arena) -> Binding:
    """The binding knowing what it loses to a more specific kind, or to an older Route of its kind."""
    lost = tuple((port, rival) for port in binding.ports if (rival := _stronger(binding, port, arena)) is not None)
    changed = replace(binding, lost=lost)
    if not lost or changed.won:
        return replace(changed, taken=tuple(_taken(changed, arena)))
    winners_text = ", ".join(sorted({str(key) for _, key in lost}))
    message = f"on every port that it covers another Route applies: {winners_text}"
    return replace(changed, reason="Conflicted", message=message)


def _stronger(binding: Binding, port: ServicePort, arena: Arena) -> Key | None:
    """The Route that takes this port from the binding, if one does: one of a more specific kind; of kinds that do not
    merge an older one.
    """
    route, there = binding.route, arena[binding.route.metadata.namespace, port]
    kind = type(route)
    stronger = [there.oldest[more] for more in RANK[: RANK.index(kind)] if more in there.oldest]
    if kind not in ALONGSIDE:
        stronger += [rival for rival in (there.oldest.get(kind),) if rival is not None and rival.age < route.age]
    return stronger[0].key if stronger else _outnamed(route, there)


def _outnamed(route: AnyRoute, there: Rivals) -> Key | None:
    """The oldest of the older TLSRoutes which together have every name of this one."""
    owners = _owners(route, there)
    if not isinstance(route, TLSRoute) or owners.keys() < set(server_names(route)):
        return None
    return min(owners.values(), key=lambda rival: rival.age).key


def _taken(binding: Binding, arena: Arena) -> Iterator[tuple[str, Key]]:
    """Server names that are older TLSRoutes' on a port where this one applies."""
    found = {
        (name, owner.key)
        for port in binding.won
        for name, owner in _owners(binding.route, arena[binding.route.metadata.namespace, port]).items()
    }
    yield from sorted(found)


def _owners(route: AnyRoute, there: Rivals) -> dict[str, TLSRoute]:
    """Whose a TLSRoute's names are, where they are an older one's: the oldest's."""
    names = server_names(route) if isinstance(route, TLSRoute) else ()
    found = {name: there.owners[name] for name in names if name in there.owners}
    return {name: owner for name, owner in found.items() if owner.age < route.age}
