"""What comes in, and what it makes of the plan, by small steps: pods first, however much else there is.

A pod connects as soon as its first container runs. So what says who is enrolled has a door of its own, and can be taken
in between any two steps of a pass over thousands of Services.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from agent.datapath.departures import Departures
from agent.ir.plan import Fragment, PodPlan
from agent.model.change import Change, Delete, Problem, Resolved, Upsert
from agent.model.facts import NodeWaypoints
from agent.translate.incremental import Unit

log = logging.getLogger(__name__)

# Of what a pod's row is made, but for its flag of consumer routes: without that everybody's view is its view.
ENROLLING = frozenset({"Namespace", "Pod", "PodCgroup", "PodSandbox", "RecentClient", "RuntimeClass"})
# One step: a few milliseconds.
CHANGES, UNITS = 100, 10

Changed = Mapping[Unit, tuple[Fragment, Fragment]]


class Translator(Protocol):
    """Changes in; per unit that changed, its old and its new fragment out."""

    @property
    def behind(self) -> bool:
        """Whether something has to be computed again."""

    def take(self, changes: Iterable[Change]) -> None:
        """Take changes in, and compute nothing yet."""

    def enrol(self) -> Changed:
        """Compute the pods that are behind."""

    def advance(self, at_most: int) -> Changed:
        """Compute so many of the others that are behind."""


class Intake:
    """Changes on their way into the plan, and the plan's fragments by unit."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._enrolling: list[Change] = []
        self._others: deque[Change] = deque()
        self._changed: dict[Unit, tuple[Fragment, Fragment]] = {}
        self.fragments: dict[Unit, Fragment] = {}
        # Those of them that have pods: few of thousands, and asked for whenever a pod comes.
        self._with_pods: dict[Unit, Fragment] = {}
        self.problems: dict[str, Problem] = {}
        self.departures = Departures()
        self._waypoints = NodeWaypoints()

    def put(self, batch: Iterable[Change]) -> None:
        """Take changes for later. The order among those of one object stays."""
        for change in batch:
            if isinstance(change, Problem):
                log.warning("not used", extra={"problem": str(change)})
                self.problems[change.where] = change
            elif isinstance(change, Resolved):
                self.problems.pop(change.where, None)
            elif isinstance(change, Upsert | Delete):
                key = change.value.key if isinstance(change, Upsert) else change.key
                (self._enrolling if key.kind in ENROLLING else self._others).append(change)

    @property
    def behind(self) -> bool:
        """Whether there is a step to do."""
        return bool(self._others or self._translator.behind)

    def enrol(self, now: float) -> bool:
        """Take in who is enrolled, and compute these pods; whether there was anything."""
        self.put(self.departures.expire(now))
        batch, self._enrolling = self._enrolling, []
        if batch:
            self._translator.take(batch)
            self._keep(self._translator.enrol())
            self.put(self.departures.see(self.pods, now))
        return bool(batch)

    def adopt(self, enrolled: Iterable[int], now: float) -> None:
        """Pods that an earlier agent had in the mesh and that are in it no more may have left a moment ago."""
        self.put(self.departures.adopt(enrolled, now))
        self.enrol(now)
        while self.behind:
            self.advance()

    def know_waypoints(self, addresses: Iterable[str]) -> bool:
        """Where the node's waypoints are; whether that is news."""
        before, self._waypoints = self._waypoints, NodeWaypoints(tuple(sorted(filter(None, addresses))))
        if self._waypoints != before:
            self.put([Upsert(self._waypoints)])
        return self._waypoints != before

    def advance(self) -> None:
        """One step: some of the changes, or when all are in, some of the units that they touch."""
        if self._others:
            self._translator.take([self._others.popleft() for _ in range(min(CHANGES, len(self._others)))])
        else:
            self._keep(self._translator.enrol())
            self._keep(self._translator.advance(UNITS))

    def take_changed(self) -> Changed:
        """What changed since the last call: per unit its fragment then, and now."""
        changed, self._changed = self._changed, {}
        return changed

    @property
    def pods(self) -> dict[int, PodPlan]:
        """The pods that there shall be, by cgroup."""
        return {cgroup: pod for item in self._with_pods.values() for cgroup, pod in item.pods.items()}

    @property
    def clients(self) -> frozenset[str]:
        """The source addresses that may connect to waypoints."""
        return frozenset().union(*(item.clients for item in self.fragments.values()))

    def _keep(self, changed: Changed) -> None:
        for unit, (old, new) in changed.items():
            first, _ = self._changed.get(unit, (old, new))
            self._changed[unit] = (first, new)
            if new == Fragment():
                self.fragments.pop(unit, None)
            else:
                self.fragments[unit] = new
            if new.pods:
                self._with_pods[unit] = new
            else:
                self._with_pods.pop(unit, None)
