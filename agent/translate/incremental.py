"""Incremental translation: the cost of an update is that of the change.

The plan consists of units: a pod, a Service, a Route's status, the client allow list. A pure function computes each
unit from a view of the store, and the view records what it read. A change invalidates read keys. The units that read
one of these keys are computed again. Pods come first, because the modes of this node's pods decide what Services need.

A unit whose function raises keeps its last output. It is computed again when something changes that it has read.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent.budget import charged_namespace
from agent.fair_queue import FairQueue
from agent.internal_errors import InternalErrors
from agent.ir.plan import Output, PodPlan
from agent.ir.tables import Mode
from agent.model.authorization import AuthorizationPolicy
from agent.model.change import Change, Delete, Keyed, Upsert, subject_of
from agent.model.core import Pod, Service
from agent.model.facts import AccountPod, NodeReport, NodeWaypoints
from agent.model.meta import Key, Object
from agent.model.multicluster import ServiceImport
from agent.model.parameters import XMesh
from agent.model.routes import Route, subject
from agent.store.indices import ReadKey
from agent.store.parents import parent_services
from agent.store.store import Store, TrackedView
from agent.translate.authorization import translate_account_pod, translate_node_report, translate_own_waypoints
from agent.translate.client_allow_list import allow_listed_clients, client_accounts, translate_client_allow_list
from agent.translate.enrolment import translate_pod
from agent.translate.mesh_status import translate_mesh_status
from agent.translate.options import Options
from agent.translate.policy_status import translate_policy_status
from agent.translate.routes.status import translate_status
from agent.translate.services import Steps, translate_consumer, translate_service

Update = dict["Unit", tuple[Output, Output]]


class Unit(NamedTuple):
    """What is translated by itself: the kind of output, and the object that it is for.

    `consumer` is a namespace with Routes for a Service of another namespace: its clients get a unit of their own.
    """

    kind: str
    key: Key
    consumer: str = ""

    @property
    def owner(self) -> str:
        """The namespace whose objects cause the work."""
        return charged_namespace(self.key.namespace, self.consumer)

    @property
    def subject(self) -> Key:
        """What it is called in errors."""
        kind, namespace, name = self.key
        return Key(kind, namespace, f"{name}@{self.consumer}") if self.consumer else self.key


PODS, SERVICES, STATUSES, POLICY_STATUSES = "pod", "service", "status", "policy-status"
ACCOUNT_PODS, MESH_STATUSES = "account-pod", "mesh-status"
NODE_REPORTS, OWN_WAYPOINTS = "node-report", "own-waypoints"
CLIENT_ALLOW_LIST = Unit("client-allow-list", Key("ClientAllowList", "", ""))
# `weft status` shows the statuses of Routes.
KINDS = (
    (Pod, PODS),
    (AccountPod, ACCOUNT_PODS),
    (NodeReport, NODE_REPORTS),
    (NodeWaypoints, OWN_WAYPOINTS),
    (Service, SERVICES),
    (ServiceImport, SERVICES),
    (Route, STATUSES),
)
# For the controller, which writes statuses only: it has no pods, and no kernel tables.
STATUS_KINDS = ((Route, STATUSES), (AuthorizationPolicy, POLICY_STATUSES), (XMesh, MESH_STATUSES))
UnitKinds = Sequence[tuple[type[Object | AccountPod | NodeReport | NodeWaypoints], str]]
# Seconds that a unit costs at least: without a clock every unit costs the same.
LEAST_COST = 0.0001


@dataclass(frozen=True, slots=True)
class _Work:
    """A unit that is being computed, and what it has read so far."""

    view: TrackedView
    steps: Steps


class Translator:
    """The output of each unit, and which units read which keys."""

    def __init__(
        self,
        store: Store,
        options: Options,
        kinds: UnitKinds = KINDS,
        errors: InternalErrors | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`kinds` lists the kinds of object and the unit of each. Without `errors` internal errors are raised.

        `clock` is in seconds of CPU time: namespaces whose units wait get equal shares of it.
        """
        self._store = store
        self._errors = errors or InternalErrors()
        self._options = options
        self._kinds = {name.__name__: unit_kind for base, unit_kind in kinds for name in (base, *base.__subclasses__())}
        self.outputs: dict[Unit, Output] = {}
        # Outputs with pods: a few of thousands, and read whenever a pod is added.
        self._with_pods: dict[Unit, Output] = {}
        self._reads: dict[Unit, set[ReadKey]] = {}
        self._readers: dict[ReadKey, set[Unit]] = defaultdict(set)
        self._pods: set[Unit] = set()
        self._others = FairQueue[Unit](lambda unit: unit.owner)
        self._under_way: dict[Unit, _Work] = {}
        self._outdated: set[Unit] = set()
        self._clock = clock

    @property
    def has_pending(self) -> bool:
        """Whether a unit has to be computed again."""
        return bool(self._pods or self._others)

    def update(self, changes: Iterable[Change]) -> Update:
        """Apply changes; returns the units whose output changed, each with the old and the new output."""
        self.take(changes)
        done = self.enrol()
        while self._others:
            done |= self.advance()
        return done

    def take(self, changes: Iterable[Change]) -> None:
        """Apply changes to the store, and compute nothing yet."""
        for change in changes:
            with self._errors.guard("store", subject_of(change)):
                self._mark(self._touched(self._store.apply([change])) | self._appeared([change]))

    def enrol(self) -> Update:
        """Compute the pods that are pending; returns what changed, as `update` does."""
        pods, self._pods = self._pods, set()
        done: Update = {}
        for unit in sorted(pods):
            # A pod is one step.
            done |= self._step(unit)
        first = CLIENT_ALLOW_LIST not in self._reads and CLIENT_ALLOW_LIST not in self._others
        if pods or first:
            self._mark(self._touched(self._recompute()) | ({CLIENT_ALLOW_LIST} if first else set()))
        return done

    def advance(self) -> Update:
        """Do one step of a pending unit other than pods; returns what changed, as `update` does."""
        if not self._others:
            return {}
        unit, began = self._others.pop(), self._clock()
        done = self._step(unit)
        self._others.charge(unit.owner, self._clock() - began + LEAST_COST)
        return done

    def _mark(self, units: set[Unit]) -> None:
        pods = {unit for unit in units if unit.kind == PODS}
        self._pods |= pods
        self._others.add(sorted(units - pods))

    def _touched(self, keys: Iterable[ReadKey]) -> set[Unit]:
        """The units that have read one of these. Units that are under way go on, and are computed again after that: one
        whose endpoints change all the time would never be done otherwise.
        """
        touched = set(keys)
        self._outdated |= {unit for unit, work in self._under_way.items() if not touched.isdisjoint(work.view.reads)}
        return {unit for key in touched for unit in self._readers.get(key, ())}

    def _appeared(self, batch: Sequence[Change]) -> set[Unit]:
        """Units of the objects in the batch: no unit has read those that are new."""
        keys = [change.key for change in batch if isinstance(change, Delete)]
        keys += [change.value.key for change in batch if isinstance(change, Upsert)]
        units = {Unit(self._kinds[key.kind], key) for key in map(subject, keys) if key.kind in self._kinds}
        return units.union(*(self._consumers(change.value) for change in batch if isinstance(change, Upsert)))

    def _consumers(self, value: Keyed) -> Iterator[Unit]:
        """The units of the Services of other namespaces that a Route names as parents."""
        if isinstance(value, Route):
            namespace = value.metadata.namespace
            for _, _, service in parent_services(value):
                if service.namespace != namespace and service.kind in self._kinds:
                    yield Unit(SERVICES, service, namespace)

    def _step(self, unit: Unit) -> Update:
        """Do one step of a unit; returns what changed, after the last step. A unit that raises keeps its output."""
        work = self._under_way.pop(unit, None)
        if work is None:
            view = TrackedView(self._store)
            work = _Work(view, self._translate(unit, view))
        made: Output | None = None
        with self._errors.guard(unit.kind, unit.subject):
            made = next(work.steps)
            if made is None:
                self._under_way[unit] = work
                self._others.add_first(unit)
                return {}
        return self._keep(unit, made, work.view.reads)

    def _keep(self, unit: Unit, made: Output | None, reads: set[ReadKey]) -> Update:
        """Keep a unit's output and reads; where `made` is None the old output, while the object exists."""
        exists, old = self._exists(unit), self.outputs.get(unit, Output())
        if made is None:
            made = old if exists else Output()
            # The function may have raised before it read anything.
            reads = reads | self._reads.get(unit, set()) | {("object", *unit.key)}
        if not exists:
            self._errors.forget(unit.kind, unit.subject)
        self._note(unit, reads if exists else set())
        if unit in self._outdated:
            self._outdated.discard(unit)
            self._mark({unit})
        return self._replace(unit, old, made)

    def _replace(self, unit: Unit, old: Output, new: Output) -> Update:
        if new == old:
            return {}
        kept = {unit: new} if new != Output() else {}
        for outputs, value in ((self.outputs, kept), (self._with_pods, kept if new.pods else {})):
            outputs.pop(unit, None)
            outputs.update(value)
        return {unit: (old, new)}

    def _exists(self, unit: Unit) -> bool:
        """Whether the unit's object exists; one that was deleted and is created again is a new one."""
        if unit.consumer:
            return self._store.has_routes(unit.key, unit.consumer)
        return unit == CLIENT_ALLOW_LIST or self._store.has(unit.key)

    def _translate(self, unit: Unit, view: TrackedView) -> Steps:
        match unit.kind:
            case "service" if unit.consumer:
                yield from translate_consumer(view, unit.key, unit.consumer, self._options)
            case "service":
                yield from translate_service(view, unit.key, self._options)
            case "pod":
                yield translate_pod(view, unit.key.namespace, unit.key.name, self._options)
            case "node-report":
                yield translate_node_report(view, unit.key, self._options.node)
            case "own-waypoints":
                yield translate_own_waypoints(view, unit.key, self._options.node)
            case "account-pod":
                yield translate_account_pod(view, unit.key)
            case "status":
                yield translate_status(view, unit.key)
            case "mesh-status":
                yield translate_mesh_status(view, unit.key)
            case "policy-status":
                yield translate_policy_status(view, unit.key)
            case _:
                yield translate_client_allow_list(view)

    def _note(self, unit: Unit, reads: set[ReadKey]) -> None:
        """Record what a unit read; a unit that read nothing is removed."""
        before = self._reads.get(unit, set())
        for key in before - reads:
            self._readers[key].discard(unit)
            if not self._readers[key]:
                del self._readers[key]
        for key in reads - before:
            self._readers[key].add(unit)
        self._reads[unit] = reads
        if not reads:
            del self._reads[unit]

    def _recompute(self) -> set[ReadKey]:
        """Set the computed values that follow from all pods of this node."""
        pods = [pod for output in self._with_pods.values() for pod in output.pods.values()]
        enrolled = [pod for pod in pods if pod.mode is not Mode.NONE]
        touched = self._store.set_computed("depth", depths(enrolled))
        touched |= self._store.set_computed("client-accounts", {"": client_accounts(pods)})
        return touched | self._store.set_computed("allow-listed-clients", {"": allow_listed_clients(pods)})


def depths(enrolled: Iterable[PodPlan]) -> dict[str, Mode]:
    """The deepest mode of the pods, by namespace; under the empty name that of all namespaces."""
    found: dict[str, Mode] = {}
    for pod in enrolled:
        for name in (pod.namespace, ""):
            found[name] = max(pod.mode, found.get(name, Mode.NONE))
    return found
