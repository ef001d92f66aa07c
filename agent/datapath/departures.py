"""Pods that left the mesh a moment ago: a connection of theirs may still be on its way to the waypoint.

They stay on the waypoint's client allow-list as long as a listener that nobody wants any more stays. Who is on
that list is for translation to say; what it needs to know is put into the store as facts.
"""

from collections.abc import Iterable, Mapping

from agent.ir.plan import PodPlan
from agent.ir.tables import Mode
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.model.change import Change, Delete, Upsert
from agent.model.facts import RecentClient


class Departures:
    """Pods in the mesh, and those that left less than the grace time ago. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._enrolled: set[int] = set()
        self._left: dict[int, float] = {}

    def adopt(self, enrolled: Iterable[int], now: float) -> list[Change]:
        """Start from the pods, by cgroup, that an earlier agent had in the mesh: any of them may have left since."""
        found = dict.fromkeys(enrolled, now + LISTENER_GRACE_SECONDS)
        self._left |= found
        return [Upsert(RecentClient(cgroup)) for cgroup in sorted(found)]

    def see(self, pods: Mapping[int, PodPlan], now: float) -> list[Change]:
        """Note which pods there are, by cgroup; returns a fact for each that was not in the mesh before.

        A pod's fact is there before the pod leaves, so that the allow-list never lacks it in between.
        """
        enrolled = {cgroup for cgroup, plan in pods.items() if plan.mode is not Mode.NONE}
        came = enrolled - self._enrolled - self._left.keys()
        for cgroup in self._enrolled - enrolled:
            self._left[cgroup] = now + LISTENER_GRACE_SECONDS
        self._left = {cgroup: end for cgroup, end in self._left.items() if cgroup not in enrolled}
        self._enrolled = enrolled
        return [Upsert(RecentClient(cgroup)) for cgroup in sorted(came)]

    def expire(self, now: float) -> list[Change]:
        """The facts whose grace time is over are none any more."""
        over = [cgroup for cgroup, end in self._left.items() if end <= now]
        for cgroup in over:
            del self._left[cgroup]
        return [Delete(RecentClient(cgroup).key) for cgroup in sorted(over)]

    @property
    def next_end(self) -> float | None:
        """When `expire` will have something to do."""
        return min(self._left.values(), default=None)
