"""Changes on their way into the plan. They are processed in small steps, changes of pods first.

A pod may connect as soon as its first container runs. So changes that decide which pods are enrolled have a queue of
their own. It is processed between any two steps of a pass over thousands of Services.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from agent.datapath.departures import Departures
from agent.datapath.desired_authorization import DesiredAuthorization
from agent.ir.plan import Output, PodPlan
from agent.model.change import Change, Delete, Problem, Resolved, Upsert
from agent.model.facts import NodeWaypoints
from agent.translate.incremental import Unit

log = logging.getLogger(__name__)

# The kinds on which a pod's row depends. Only its flag for consumer routes depends on others: until that is set
# the pod uses the frontends that all namespaces share.
ENROLMENT_KINDS = frozenset(
    {
        *("AuthorizationPolicy", "UndecodableAuthorizationPolicy"),
        *("MeshParameters", "UndecodableMeshParameters", "LastMeshParameters", "XMesh"),
        *("Namespace", "Pod", "PodCgroup", "PodSandbox", "RecentClient", "RuntimeClass"),
    }
)
# How long one step goes on to the next piece of work.
STEP_SECONDS = 0.005

Changed = Mapping[Unit, tuple[Output, Output]]


class Translator(Protocol):
    """Takes changes, and returns the old and the new output of each unit that changed."""

    @property
    def has_pending(self) -> bool:
        """Whether units have to be recomputed."""

    def take(self, changes: Iterable[Change]) -> None:
        """Take changes. Nothing is computed yet."""

    def enrol(self) -> Changed:
        """Recompute pending pods."""

    def advance(self) -> Changed:
        """Do one step of another pending unit."""


class Parameters(Protocol):
    """The last MeshParameters that were in force."""

    def read(self) -> list[Change]:
        """Those of an earlier agent."""

    def keep(self) -> list[Change]:
        """Keep those that are in force now."""


class ChangeQueue:
    """The changes that are not in the plan yet, and the plan's outputs by unit."""

    def __init__(
        self,
        translator: Translator,
        clock: Callable[[], float] = time.monotonic,
        authorization: DesiredAuthorization | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        """`clock` is in seconds; `authorization` takes the part of each output that it is about; without `parameters`
        none are kept.
        """
        self._translator = translator
        self._clock = clock
        self._authorization = authorization or DesiredAuthorization()
        self._enrolling: list[Change] = []
        self._others: deque[Change] = deque()
        self._changed: dict[Unit, tuple[Output, Output]] = {}
        self.outputs: dict[Unit, Output] = {}
        # The outputs that have pods: few among thousands, and read whenever a pod starts.
        self._pod_outputs: dict[Unit, Output] = {}
        self.problems: dict[str, Problem] = {}
        self.departures = Departures()
        self._waypoints = NodeWaypoints()
        self._parameters = parameters
        self.put(parameters.read() if parameters else ())

    def put(self, batch: Iterable[Change]) -> None:
        """Queue changes. The order of changes to one object is preserved."""
        for change in batch:
            if isinstance(change, Problem):
                log.warning("object not used", extra={"problem": str(change)})
                self.problems[change.where] = change
            elif isinstance(change, Resolved):
                self.problems.pop(change.where, None)
            elif isinstance(change, Upsert | Delete):
                key = change.value.key if isinstance(change, Upsert) else change.key
                (self._enrolling if key.kind in ENROLMENT_KINDS else self._others).append(change)

    @property
    def has_pending(self) -> bool:
        """Whether there are changes to apply or units to recompute."""
        return bool(self._others or self._translator.has_pending)

    def enrol(self, now: float) -> bool:
        """Apply the changes that concern enrolment, and recompute these pods. Returns whether there were any."""
        self.put(self.departures.expire(now))
        batch, self._enrolling = self._enrolling, []
        if batch:
            self._translator.take(batch)
            self._keep(self._translator.enrol())
            self._authorization.observe(batch)
            self.put(self.departures.see(self.pods, now))
        return bool(batch)

    def keep_parameters(self) -> None:
        """Keep the MeshParameters in force, before a later change deletes them. All sources have to be synced: until
        then they can seem to be others.
        """
        self.put(self._parameters.keep() if self._parameters else ())

    def adopt(self, enrolled: Iterable[int], now: float) -> None:
        """Take over the pods that an earlier agent enrolled. Those that are not enrolled any more may have left a
        moment ago.
        """
        self.put(self.departures.adopt(enrolled, now))
        self.enrol(now)
        while self.has_pending:
            self.advance()

    def set_waypoints(self, addresses: Iterable[str]) -> bool:
        """Set the addresses of the node's waypoints. Returns whether they changed."""
        before, self._waypoints = self._waypoints, NodeWaypoints(tuple(sorted(filter(None, addresses))))
        if self._waypoints != before:
            self.put([Upsert(self._waypoints)])
        return self._waypoints != before

    def advance(self) -> None:
        """Do one step: apply some of the changes or, when all are applied, recompute some of the units concerned."""
        ends = self._clock() + STEP_SECONDS
        if self._others:
            while self._others and self._clock() < ends:
                self._translator.take([self._others.popleft()])
            return
        self._keep(self._translator.enrol())
        while self._translator.has_pending and self._clock() < ends:
            self._keep(self._translator.advance())

    def pop_changed(self) -> Changed:
        """What changed since the last call: for each unit the output at that time, and the current one."""
        changed, self._changed = self._changed, {}
        return changed

    @property
    def pods(self) -> dict[int, PodPlan]:
        """The desired pods, by cgroup id."""
        return {cgroup: pod for item in self._pod_outputs.values() for cgroup, pod in item.pods.items()}

    @property
    def clients(self) -> frozenset[str]:
        """The source addresses that may connect to waypoints."""
        return frozenset().union(*(item.clients for item in self.outputs.values()))

    def _keep(self, changed: Changed) -> None:
        for unit, (old, new) in changed.items():
            self._authorization.take(unit, old, new)
            first, _ = self._changed.get(unit, (old, new))
            self._changed[unit] = (first, new)
            if new == Output():
                self.outputs.pop(unit, None)
            else:
                self.outputs[unit] = new
            if new.pods:
                self._pod_outputs[unit] = new
            else:
                self._pod_outputs.pop(unit, None)
