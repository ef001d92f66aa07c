"""Keeping the plan up to date at the cost of the change.

The plan is made of units: a pod, a Service, a Route's status, the admission of clients. Each is computed by a pure
function from a view of the store, which notes what was read. A change touches read keys; the units that read one of
them are computed again, pods first, because how deep this node's pods are decides what Services need.

A unit that trips a bug keeps its last fragment, and is computed again when something changes that it read before.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from agent.internal_errors import InternalErrors
from agent.ir.plan import Fragment, PodPlan
from agent.ir.tables import Mode
from agent.model.change import Change, Delete, Upsert, subject_of
from agent.model.core import Pod, Service
from agent.model.meta import Key, Object
from agent.model.multicluster import ServiceImport
from agent.model.routes import Route, subject
from agent.store.indices import ReadKey
from agent.store.store import Store, TrackedView
from agent.translate.client_allow_list import translate_admission
from agent.translate.enrolment import translate_pod
from agent.translate.options import Options
from agent.translate.routes.status import translate_status
from agent.translate.services import translate_service

Update = dict["Unit", tuple[Fragment, Fragment]]


class Unit(NamedTuple):
    """Something that is translated by itself: what is made, and the object it is made for."""

    makes: str
    key: Key


PODS, SERVICES, STATUSES = "pod", "service", "status"
ADMISSION = Unit("admission", Key("Admission", "", ""))
KINDS = ((Pod, PODS), (Service, SERVICES), (ServiceImport, SERVICES), (Route, STATUSES))
# What a writer of statuses needs: it has no pods, and no tables to fill.
STATUS_KINDS = ((Route, STATUSES),)
Makers = Sequence[tuple[type[Object], str]]


class Translator:
    """The fragments of all units, and who read what."""

    def __init__(
        self, store: Store, options: Options, kinds: Makers = KINDS, errors: InternalErrors | None = None
    ) -> None:
        """`kinds` lists the kinds of object and the unit of each. Without `errors` internal errors are raised."""
        self._store = store
        self._errors = errors or InternalErrors()
        self._options = options
        self._kinds = {name.__name__: makes for base, makes in kinds for name in (base, *base.__subclasses__())}
        self.fragments: dict[Unit, Fragment] = {}
        # Those of them that have pods: few of thousands, and asked for whenever a pod comes.
        self._with_pods: dict[Unit, Fragment] = {}
        self._reads: dict[Unit, set[ReadKey]] = {}
        self._readers: dict[ReadKey, set[Unit]] = defaultdict(set)
        self._pods: set[Unit] = set()
        self._others: set[Unit] = set()

    @property
    def behind(self) -> bool:
        """Whether something has to be computed again."""
        return bool(self._pods or self._others)

    def update(self, changes: Iterable[Change]) -> Update:
        """Take changes in; returns the units whose fragment changed, with its old and its new value."""
        self.take(changes)
        return self.enrol() | self.advance(len(self._others))

    def take(self, changes: Iterable[Change]) -> None:
        """Take changes in, and compute nothing yet."""
        for change in changes:
            with self._errors.guard("intake", subject_of(change)):
                self._mark(self._touched(self._store.apply([change])) | self._appeared([change]))

    def enrol(self) -> Update:
        """Compute the pods that are behind; returns what changed, as `update` does."""
        pods, self._pods = self._pods, set()
        done = self._compute(pods)
        first = ADMISSION not in self._reads and ADMISSION not in self._others
        if pods or first:
            self._mark(self._touched(self._recompute()) | ({ADMISSION} if first else set()))
        return done

    def advance(self, at_most: int) -> Update:
        """Compute so many of the units that are behind and are no pods; returns what changed, as `update` does."""
        return self._compute([self._others.pop() for _ in range(min(at_most, len(self._others)))])

    def _mark(self, units: set[Unit]) -> None:
        pods = {unit for unit in units if unit.makes == PODS}
        self._pods |= pods
        self._others |= units - pods

    def _touched(self, keys: Iterable[ReadKey]) -> set[Unit]:
        return {unit for key in keys for unit in self._readers.get(key, ())}

    def _appeared(self, batch: Iterable[Change]) -> set[Unit]:
        """Units of the objects that the batch is about: nobody has read those that are new."""
        keys = [change.key for change in batch if isinstance(change, Delete)]
        keys += [change.value.key for change in batch if isinstance(change, Upsert)]
        return {Unit(self._kinds[key.kind], key) for key in map(subject, keys) if key.kind in self._kinds}

    def _compute(self, units: Iterable[Unit]) -> Update:
        done: Update = {}
        for unit in sorted(units):
            old, new = self.fragments.get(unit, Fragment()), self._made(unit)
            if new != old:
                self.fragments[unit] = new
                done[unit] = (old, new)
                if new.pods:
                    self._with_pods[unit] = new
                else:
                    self._with_pods.pop(unit, None)
            if new == Fragment():
                self.fragments.pop(unit, None)
        return done

    def _made(self, unit: Unit) -> Fragment:
        """A unit's fragment as it is now. What trips a bug stays as it was while its object is there."""
        view, exists, made = TrackedView(self._store), self._exists(unit), None
        with self._errors.guard(unit.makes, unit.key):
            made = self._translate(unit, view)
        reads = view.reads
        if made is None:
            made = self.fragments.get(unit, Fragment()) if exists else Fragment()
            # It may have failed before it read anything.
            reads = reads | self._reads.get(unit, set()) | {("object", *unit.key)}
        if not exists:
            self._errors.forget(unit.makes, unit.key)
        self._note(unit, reads if exists else set())
        return made

    def _exists(self, unit: Unit) -> bool:
        """Whether the unit's object is there; one that comes back appears anew."""
        return unit == ADMISSION or self._store.has(unit.key)

    def _translate(self, unit: Unit, view: TrackedView) -> Fragment:
        _, namespace, name = unit.key
        makers: dict[str, Callable[[], Fragment]] = {
            PODS: lambda: translate_pod(view, namespace, name, self._options),
            SERVICES: lambda: translate_service(view, unit.key, self._options),
            STATUSES: lambda: translate_status(view, unit.key),
            ADMISSION.makes: lambda: translate_admission(view),
        }
        return makers[unit.makes]()

    def _note(self, unit: Unit, reads: set[ReadKey]) -> None:
        """Remember what a unit read; one that read nothing is forgotten."""
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
        """What this node's pods, taken together, mean for others."""
        pods = [pod for fragment in self._with_pods.values() for pod in fragment.pods.values()]
        enrolled = [pod for pod in pods if pod.mode is not Mode.NONE]
        touched = self._store.set_computed("depth", depths(enrolled))
        return touched | self._store.set_computed("admitted", {"": admitted(pods)})


def depths(enrolled: Iterable[PodPlan]) -> dict[str, Mode]:
    """How deep the deepest pod is, by namespace; under the empty name that of all."""
    found: dict[str, Mode] = {}
    for pod in enrolled:
        for name in (pod.namespace, ""):
            found[name] = max(pod.mode, found.get(name, Mode.NONE))
    return found


def admitted(pods: Iterable[PodPlan]) -> Mapping[str, tuple[str, ...]]:
    """Addresses on the waypoint's client allow-list by namespace, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for pod in filter(attrgetter("admitted"), pods):
        found[pod.namespace].update(pod.addresses)
    return {namespace: tuple(sorted(addresses)) for namespace, addresses in sorted(found.items())}
