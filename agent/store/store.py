"""What is known: an index over immutable values, and views of it that note what was read.

Every way to read has a key. Taking in a change returns the keys whose answer changed; whoever read one of those has to
be computed again, and nobody else. Derived answers (a namespace's depth, its consumer routes) are compared by value, so
that a change which makes no difference stops here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TypeVar, cast

from agent.ir.tables import Mode
from agent.model.change import Change, Delete, Keyed, Upsert
from agent.model.core import EndpointSlice, Namespace, Pod, ServiceCIDR, shortest
from agent.model.facts import NodeWaypoints, PodCgroup, PodSandbox
from agent.model.meta import Key, Object
from agent.model.multicluster import AnyService, ServiceImport
from agent.model.routes import AnyRoute, UnreadRoute, unread
from agent.store.endpoint_index import EndpointIndex
from agent.store.indices import ReadKey, indices

MODE_LABEL = "weft.dev/mode"

T = TypeVar("T", bound=Keyed)
S = TypeVar("S")
LabelledMode = tuple[Mode | None, str]


class Store:
    """Every value that is known, by key and by what others look for."""

    def __init__(self) -> None:
        self._values: dict[Key, Keyed] = {}
        self._by: dict[ReadKey, set[Key]] = defaultdict(set)
        self._endpoints = EndpointIndex()
        self._modes: dict[Key, LabelledMode] = {}
        self._computed: dict[ReadKey, object] = {}
        self._memos: dict[ReadKey, tuple[object, frozenset[ReadKey]]] = {}
        self._memo_readers: dict[ReadKey, set[ReadKey]] = defaultdict(set)

    def apply(self, changes: Iterable[Change]) -> set[ReadKey]:
        """Take changes in; returns the keys of all reads that would now be answered otherwise."""
        touched: set[ReadKey] = set()
        for change in changes:
            if isinstance(change, Upsert):
                touched |= self._replace(change.value.key, change.value)
            elif isinstance(change, Delete):
                touched |= self._replace(change.key, None)
        self._invalidate(touched)
        return touched

    def set_computed(self, kind: str, values: Mapping[str, object]) -> set[ReadKey]:
        """Replace all derived answers of a kind, which are facts about the store found elsewhere."""
        old = {key: value for key, value in self._computed.items() if key[0] == kind}
        new: dict[ReadKey, object] = {(kind, name): value for name, value in values.items()}
        self._computed = {key: value for key, value in self._computed.items() if key[0] != kind} | new
        touched = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        self._invalidate(touched)
        return touched

    def has(self, key: Key) -> bool:
        """Whether this is known."""
        return key in self._values

    def keys(self, kind: type[Object]) -> list[Key]:
        """Every known object of a kind, or of the kinds that derive from it."""
        return sorted(key for key, value in self._values.items() if isinstance(value, kind))

    def _invalidate(self, touched: Iterable[ReadKey]) -> None:
        """Forget shared answers that were made of what changed."""
        for name in {name for key in touched for name in self._memo_readers.get(key, ())}:
            for key in self._memos.pop(name)[1]:
                self._memo_readers[key].discard(name)
                if not self._memo_readers[key]:
                    del self._memo_readers[key]

    def _replace(self, key: Key, value: Keyed | None) -> set[ReadKey]:
        old = self._values.get(key)
        if old == value:
            return set()
        touched: set[ReadKey] = {("object", *key)}
        # Whatever can fail comes first: a value that trips a bug leaves the former one whole.
        before, after, mode = indices(old), indices(value), _labelled_mode(value)
        touched |= {("endpoint", address) for address in self._endpoints.replace(key, old, value)}
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
        return touched | before | after | self._remember_mode(key, mode)

    def _slices_at(self, addresses: Iterable[str]) -> set[ReadKey]:
        """The slices of every Service that has one of these addresses among its endpoints."""
        slices = (self._values[key] for address in addresses for key in self._endpoints.slices(address))
        return {("slices", *owner) for item in slices if isinstance(item, EndpointSlice) for owner in item.owners}

    def _remember_mode(self, key: Key, mode: LabelledMode | None) -> set[ReadKey]:
        """Keep the mode of an object's label; what is wrong with the label is kept beside it."""
        old = self._modes.pop(key, None)
        if mode is not None:
            self._modes[key] = mode
        return {("mode", *key)} if mode != old else set()


def _labelled_mode(value: Keyed | None) -> LabelledMode | None:
    """What an object's label says, None for what has no mode."""
    return read_mode(value) if isinstance(value, Namespace | Pod | AnyService) else None


def read_mode(value: Namespace | Pod | AnyService) -> LabelledMode:
    """The mode that a label asks for (None: no label) and, when it asks for nothing known, what to tell the user.

    A value that is no mode is as no label. What the label was before does not count: an agent that was not there then
    would have another mode than the others.
    """
    text = value.metadata.labels.get(MODE_LABEL)
    if text is None:
        return None, ""
    if text in ("none", "l4", "l7"):
        return Mode[text.upper()], ""
    return None, f"{value.key}: metadata.labels[{MODE_LABEL}]: {text!r} is none of none, l4, l7; ignored"


def _waypoints(value: Keyed | None) -> frozenset[str]:
    return frozenset(value.addresses if isinstance(value, NodeWaypoints) else ())


class TrackedView:
    """A store as one unit of translation reads it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads: set[ReadKey] = set()

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object."""
        key = Key(kind.__name__, namespace, name)
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, kind) else None

    def pods(self, namespace: str) -> list[Pod]:
        """The pods of a namespace; not for units, which are not computed again when one comes."""
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

    def unread(self, route: Key) -> UnreadRoute | None:
        """That a Route's newest generation could not be read, when it could not."""
        key = unread(route)
        self.reads.add(("object", *key))
        found = self._store._values.get(key)
        return found if isinstance(found, UnreadRoute) else None

    def is_waypoint(self, endpoint: str) -> bool:
        """Whether an endpoint's address is that of a waypoint of this node.

        Noted as read by `slices`: when waypoints come or go, only those who have such an endpoint are computed again.
        """
        found = self._store._values.get(NodeWaypoints().key)
        return isinstance(found, NodeWaypoints) and shortest(endpoint) in found.addresses

    def slices(self, service: Key) -> list[EndpointSlice]:
        """The EndpointSlices of a Service or ServiceImport."""
        return [value for value in self._find("slices", *service) if isinstance(value, EndpointSlice)]

    def routes(self, service: Key) -> list[AnyRoute]:
        """The Routes of any kind that name a Service or ServiceImport as a parent."""
        return [value for value in self._find("routes", *service) if isinstance(value, AnyRoute)]

    def has_routes(self, service: Key) -> bool:
        """Whether there are any."""
        return self._any("routes", *service)

    def service_at(self, address: str) -> AnyService | None:
        """Whose a virtual address is.

        An API server never gives a cluster IP twice; but manifests can, and nobody checks what a ServiceImport says.
        Among Services, and among imports, it is the oldest one's. An import takes it from no Service of another
        namespace; from one of its own it does: that is where its maker had the address from.
        """
        found = self.services_at(address)
        found.sort(key=lambda value: (isinstance(value, ServiceImport), value.age))
        home = {value.metadata.namespace for value in found[:1]}
        imports = (item for item in found if isinstance(item, ServiceImport) and item.metadata.namespace in home)
        return next(chain(imports, found), None)

    def services_at(self, address: str) -> list[AnyService]:
        """Every Service and ServiceImport that names a virtual address as its own."""
        return [value for value in self._find("address", address) if isinstance(value, AnyService)]

    def holders(self, address: str) -> list[Object]:
        """The pods and nodes that have an address, as far as they are known here, and the slices that name it."""
        self.reads.add(("endpoint", address))
        found = [value for value in self._find("holders", address) if isinstance(value, Object)]
        slices = (self.get(EndpointSlice, *key[1:]) for key in self._store._endpoints.slices(address))
        return found + [value for value in slices if value is not None]

    def service_cidrs(self) -> list[ServiceCIDR]:
        """Where Services' cluster IPs are from; none where the cluster does not say."""
        return [value for value in self._find("service-cidrs") if isinstance(value, ServiceCIDR)]

    def cgroup(self, pod_uid: str) -> int | None:
        """The pod's cgroup id, when it is on this node."""
        return next((v.cgroup_id for v in self._find(PodCgroup.kind, pod_uid) if isinstance(v, PodCgroup)), None)

    def sandbox(self, pod_uid: str) -> tuple[str, ...]:
        """The addresses of the pod's network namespace, where it began while the agent was there."""
        return next((v.addresses for v in self._find(PodSandbox.kind, pod_uid) if isinstance(v, PodSandbox)), ())

    def mirrors(self, static_hash: str) -> list[Pod]:
        """The pods that say they mirror a static pod of this node: one, but for what others can write."""
        return [value for value in self._find("mirrors", static_hash) if isinstance(value, Pod)]

    def has_consumer_routes(self, namespace: str) -> bool:
        """Whether the namespace has Routes for Services of others."""
        return self._any("consumers", namespace)

    def mode(self, kind: str, namespace: str, name: str) -> LabelledMode:
        """The mode that an object's label asks for, and what is wrong with the label."""
        key = Key(kind, namespace, name)
        self.reads.add(("mode", *key))
        return self._store._modes.get(key, (None, ""))

    def computed(self, kind: str, name: str) -> object:
        """A derived answer, None when there is none."""
        self.reads.add((kind, name))
        return self._store._computed.get((kind, name))

    def memo(self, name: ReadKey, make: Callable[["TrackedView"], S]) -> S:
        """An answer that many units need and that is made once, until what it read changes. `name` says which."""
        if name not in self._store._memos:
            view = TrackedView(self._store)
            try:
                made = make(view)
            finally:
                # What was read before a failure decides whether it happens again.
                self.reads |= view.reads
            self._store._memos[name] = made, frozenset(view.reads)
            for key in view.reads:
                self._store._memo_readers[key].add(name)
        found, reads = self._store._memos[name]
        self.reads |= reads
        return cast(S, found)

    def _find(self, *index: str) -> list[Keyed]:
        self.reads.add(index)
        keys = self._store._by.get(index, set())
        return [self._store._values[key] for key in sorted(keys)]

    def _any(self, *index: str) -> bool:
        self.reads.add(index)
        return bool(self._store._by.get(index))
