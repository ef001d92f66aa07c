"""What is known: an index over immutable values, and views of it that note what was read.

Every read has a key. Applying a change returns the keys whose answer changed. Only units that read one of those keys
have to be computed again. Computed answers (the deepest mode in a namespace, its consumer routes) are compared by
value, so that a change which makes no difference to them stops here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from agent.model.authorization import AnyPolicy
from agent.model.change import Change, Delete, Keyed, Upsert
from agent.model.core import Pod, normalized_address
from agent.model.discovery import EndpointSlice
from agent.model.facts import NodeWaypoints, PodCgroup, PodSandbox
from agent.model.meta import Key, Object
from agent.model.multicluster import AnyService
from agent.model.routes import AnyRoute, UndecodableRoute, undecodable
from agent.model.weft_node import Guarded
from agent.store.account_nodes import AccountNodes
from agent.store.address_owner import owner
from agent.store.endpoint_index import EndpointIndex, endpoint_locations
from agent.store.guard_index import GuardIndex
from agent.store.indices import ReadKey, indices
from agent.store.memos import Memos
from agent.store.mode import LabelledMode, labelled_mode

T = TypeVar("T", bound=Keyed)
S = TypeVar("S")


class Store:
    """All values, by key and by index keys."""

    def __init__(self) -> None:
        self._values: dict[Key, Keyed] = {}
        self._by: dict[ReadKey, set[Key]] = defaultdict(set)
        self._endpoints = EndpointIndex()
        self._guards = GuardIndex()
        self._account_nodes = AccountNodes()
        self._modes: dict[Key, LabelledMode] = {}
        self._computed: dict[ReadKey, object] = {}
        self._memos = Memos()

    def apply(self, changes: Iterable[Change]) -> set[ReadKey]:
        """Apply changes; returns the keys of all reads whose answer is now another."""
        touched: set[ReadKey] = set()
        for change in changes:
            if isinstance(change, Upsert):
                touched |= self._replace(change.value.key, change.value)
            elif isinstance(change, Delete):
                touched |= self._replace(change.key, None)
        self._memos.invalidate(touched)
        return touched

    def set_computed(self, kind: str, values: Mapping[str, object]) -> set[ReadKey]:
        """Replace all computed answers of a kind, which the caller derived from the store; returns the changed keys."""
        old = {key: value for key, value in self._computed.items() if key[0] == kind}
        new: dict[ReadKey, object] = {(kind, name): value for name, value in values.items()}
        self._computed = {key: value for key, value in self._computed.items() if key[0] != kind} | new
        touched = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        self._memos.invalidate(touched)
        return touched

    def has(self, key: Key) -> bool:
        """Whether there is a value with this key."""
        return key in self._values

    def has_routes(self, service: Key, namespace: str) -> bool:
        """Whether Routes in this namespace name a Service or ServiceImport as a parent."""
        return bool(self._by.get(("routes", *service, namespace)))

    def keys(self, kind: type[Object]) -> list[Key]:
        """The keys of all objects of a kind, or of kinds derived from it."""
        return sorted(key for key, value in self._values.items() if isinstance(value, kind))

    def _replace(self, key: Key, value: Keyed | None) -> set[ReadKey]:
        old = self._values.get(key)
        if old == value:
            return set()
        touched: set[ReadKey] = {("object", *key)}
        # What can raise comes first: a value that it raises for leaves the former one whole.
        before, after, mode = indices(old), indices(value), labelled_mode(value)
        touched |= {("endpoint", address) for address in self._endpoints.replace(key, old, value)}
        touched |= {("endpoints", node) for _, node in endpoint_locations(old) ^ endpoint_locations(value)}
        touched |= {("guarded", address) for address in self._guards.replace(key, old, value)}
        touched |= {("nodes", *account) for account in self._account_nodes.replace(old, value)}
        for index in before - after:
            self._by[index].discard(key)
            if not self._by[index]:
                del self._by[index]
        for index in after - before:
            self._by[index].add(key)
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        touched |= self._slices_at(_waypoints(old) ^ _waypoints(value))
        return touched | before | after | self._set_mode(key, mode)

    def _slices_at(self, addresses: Iterable[str]) -> set[ReadKey]:
        """The slices of every Service that has one of these addresses among its endpoints."""
        slices = (self._values[key] for address in addresses for key in self._endpoints.slices(address))
        return {("slices", *owner) for item in slices if isinstance(item, EndpointSlice) for owner in item.owners}

    def _set_mode(self, key: Key, mode: LabelledMode | None) -> set[ReadKey]:
        """Set the mode of an object's label, with the warning about the label; returns the changed keys."""
        old = self._modes.pop(key, None)
        if mode is not None:
            self._modes[key] = mode
        return {("mode", *key)} if mode != old else set()


def _waypoints(value: Keyed | None) -> frozenset[str]:
    return frozenset(value.addresses if isinstance(value, NodeWaypoints) else ())


class TrackedView:
    """A view of the store that records what one unit of translation reads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads: set[ReadKey] = set()
        self._once: dict[object, object] = {}

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object."""
        key = Key(kind.__name__, namespace, name)
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, kind) else None

    def pods(self, namespace: str) -> list[Pod]:
        """The pods of a namespace. Units must not use it: they would not be computed again when a pod is added."""
        keys = [key for key in self._store.keys(Pod) if key.namespace == namespace]
        return [pod for key in keys if (pod := self.get(Pod, key.namespace, key.name)) is not None]

    def route(self, key: Key) -> AnyRoute | None:
        """One route of any kind."""
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, AnyRoute) else None

    def service(self, key: Key) -> AnyService | None:
        """One Service or ServiceImport."""
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, AnyService) else None

    def undecodable(self, route: Key) -> UndecodableRoute | None:
        """The fact that a Route's newest generation could not be decoded, None when it could."""
        key = undecodable(route)
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, UndecodableRoute) else None

    def is_waypoint(self, endpoint: str) -> bool:
        """Whether an endpoint's address is that of a waypoint of this node.

        `slices` records the read: when waypoints are added or removed, only Services with such an endpoint are computed
        again.
        """
        found = self._store._values.get(NodeWaypoints().key)
        return isinstance(found, NodeWaypoints) and normalized_address(endpoint) in found.addresses

    def slices(self, service: Key) -> list[EndpointSlice]:
        """The EndpointSlices of a Service or ServiceImport."""
        return [value for value in self._find("slices", *service) if isinstance(value, EndpointSlice)]

    def routes(self, service: Key, namespace: str) -> list[AnyRoute]:
        """The Routes of any kind in a namespace that name a Service or ServiceImport as a parent."""
        return [value for value in self._find("routes", *service, namespace) if isinstance(value, AnyRoute)]

    def has_routes(self, service: Key, namespace: str | None = None) -> bool:
        """Whether there are such Routes; without a namespace, in any namespace."""
        return self._any("routes", *service) if namespace is None else self._any("routes", *service, namespace)

    def policies(self, *namespace: str) -> list[AnyPolicy]:
        """The AuthorizationPolicies of a namespace, or of all, and the facts about those that could not be decoded."""
        return [value for value in self._find("policies", *namespace) if isinstance(value, AnyPolicy)]

    def has_service_policies(self, service: Key) -> bool:
        """Whether there are AuthorizationPolicies for the pods of a Service, those that could not be decoded too."""
        return self._any("service-policies", *service)

    def identities_wanted(self) -> bool:
        """Whether any Service asks for the identities of its clients."""
        return self._any("identity-services")

    def has_policies(self) -> bool:
        """Whether any namespace has AuthorizationPolicies, or another node has protected pods."""
        return self._any("policies")

    def service_at(self, address: str) -> AnyService | None:
        """The owner of a virtual address."""
        return owner(self.services_at(address))

    def services_at(self, address: str) -> list[AnyService]:
        """Every Service and ServiceImport with this virtual address."""
        return [value for value in self._find("address", address) if isinstance(value, AnyService)]

    def holders(self, address: str) -> list[Object]:
        """The pods and nodes in the store that have an address, and the slices that name it."""
        self.reads.add(("endpoint", address))
        found = [value for value in self._find("holders", address) if isinstance(value, Object)]
        slices = (self.get(EndpointSlice, *key[1:]) for key in self._store._endpoints.slices(address))
        return found + [value for value in slices if value is not None]

    def reports(self, address: str) -> list[tuple[str, Guarded]]:
        """The nodes that report an address as that of a protected pod, each with its report."""
        self.reads.add(("guarded", address))
        return [(key.name, report) for key, report in self._store._guards.reports(address)]

    def guarded(self, address: str) -> list[tuple[str, Guarded]]:
        """The nodes that report an address as that of a protected pod, each with its report.

        A node that an attacker controls can report any address. So a report counts only where an EndpointSlice has the
        address as an endpoint on that node.
        """
        self.reads.add(("endpoint", address))
        reports = self.reports(address)
        locations = self._locations(address) if reports else frozenset()
        return [(node, report) for node, report in reports if node in locations]

    def has_endpoint(self, address: str, node: str) -> bool:
        """Whether an EndpointSlice has the address as an endpoint on the node. One read for all addresses of a node."""
        self.reads.add(("endpoints", node))
        slices = (self._store._values[key] for key in self._store._endpoints.slices(address))
        return any((address, node) in endpoint_locations(item) for item in slices)

    def _locations(self, address: str) -> frozenset[str]:
        """The nodes on which EndpointSlices have an endpoint with this address."""
        slices = (self.get(EndpointSlice, *key[1:]) for key in self._store._endpoints.slices(address))
        return frozenset(node for item in slices for found, node in endpoint_locations(item) if found == address)

    def nodes(self, namespace: str, account: str) -> frozenset[str]:
        """The nodes on which pods with a service account run, as far as they are known; `*` is any account."""
        self.reads.add(("nodes", namespace, account))
        return self._store._account_nodes.nodes((namespace, account))

    def listed(self, kind: type[T]) -> list[T]:
        """All values of a kind that has an index of its own: Node, NodeReport, ServiceCIDR, XMesh; sorted by key."""
        return [value for value in self._find("kind", kind.__name__) if isinstance(value, kind)]

    def cgroup(self, pod_uid: str) -> int | None:
        """The pod's cgroup id, when it is on this node."""
        return next((v.cgroup_id for v in self._find(PodCgroup.kind, pod_uid) if isinstance(v, PodCgroup)), None)

    def sandbox(self, pod_uid: str) -> tuple[str, ...]:
        """The addresses of the pod's network namespace; none where it was made while no agent ran."""
        return next((v.addresses for v in self._find(PodSandbox.kind, pod_uid) if isinstance(v, PodSandbox)), ())

    def mirrors(self, static_hash: str) -> list[Pod]:
        """The pods that claim to mirror a static pod of this node: one, unless others wrote more."""
        return [value for value in self._find("mirrors", static_hash) if isinstance(value, Pod)]

    def has_consumer_routes(self, namespace: str) -> bool:
        """Whether the namespace has Routes for Services of other namespaces."""
        return self._any("consumers", namespace)

    def mode(self, kind: str, namespace: str, name: str) -> LabelledMode:
        """The mode of an object's label, and the warning about the label."""
        key = Key(kind, namespace, name)
        self.reads.add(("mode", *key))
        return self._store._modes.get(key, (None, ""))

    def computed(self, kind: str, name: str) -> object:
        """A computed answer, None when there is none."""
        self.reads.add((kind, name))
        return self._store._computed.get((kind, name))

    def memo(self, name: ReadKey, make: Callable[["TrackedView"], S]) -> S:
        """An answer that many units need, by `name`: it is computed once, until something that it read changes."""
        memos = self._store._memos
        if (found := memos.get(name)) is None:
            view = TrackedView(self._store)
            try:
                made = make(view)
            finally:
                # Reads count also where it raised: when they change it is tried again.
                self.reads |= view.reads
            found = memos.add(name, made, view.reads)
        self.reads |= found.reads
        return cast(S, found.value)

    def once(self, name: object, make: Callable[[], S]) -> S:
        """An answer that one unit needs several times. It stays as it is while this view is used."""
        if name not in self._once:
            self._once[name] = make()
        return cast(S, self._once[name])

    def _find(self, *index: str) -> list[Keyed]:
        self.reads.add(index)
        keys = self._store._by.get(index, set())
        return [self._store._values[key] for key in sorted(keys)]

    def _any(self, *index: str) -> bool:
        self.reads.add(index)
        return bool(self._store._by.get(index))
