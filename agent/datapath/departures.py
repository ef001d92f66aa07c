"""Pods that left the mesh recently: their connections may still be on the way to the waypoint.

They stay on the client allow-list of the waypoint as long as an unwanted listener drains. Translation computes the
list; the store has these pods as facts for it.
"""

from collections.abc import Iterable, Mapping

from agent.ir.plan import PodPlan
from agent.ir.tables import Mode
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.model.change import Change, Delete, Upsert
from agent.model.facts import RecentClient


class Departures:
    """Pods in the mesh, and those that left it within the grace time. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._enrolled: set[int] = set()
        self._left: dict[int, float] = {}

    def adopt(self, enrolled: Iterable[int], now: float) -> list[Change]:
        """Start from the pods, by cgroup id, that an earlier agent had in the mesh: any of them may have left since."""
        found = dict.fromkeys(enrolled, now + LISTENER_GRACE_SECONDS)
        self._left |= found
        return [Upsert(RecentClient(cgroup)) for cgroup in sorted(found)]

    def see(self, pods: Mapping[int, PodPlan], now: float) -> list[Change]:
        """Update the pods, by cgroup id; returns a fact for each that was not in the mesh before.

        The fact exists before the pod leaves, so the allow-list never lacks the pod in between.
        """
        enrolled = {cgroup for cgroup, plan in pods.items() if plan.mode is not Mode.NONE}
        came = enrolled - self._enrolled - self._left.keys()
        for cgroup in self._enrolled - enrolled:
            self._left[cgroup] = now + LISTENER_GRACE_SECONDS
        self._left = {cgroup: end for cgroup, end in self._left.items() if cgroup not in enrolled}
        self._enrolled = enrolled
        return [Upsert(RecentClient(cgroup)) for cgroup in sorted(came)]

    def expire(self, now: float) -> list[Change]:
        """Delete the facts whose grace time is over."""
        over = [cgroup for cgroup, end in self._left.items() if end <= now]
        for cgroup in over:
            del self._left[cgroup]
        return [Delete(RecentClient(cgroup).key) for cgroup in sorted(over)]

    @property
    def next_end(self) -> float | None:
        """The time at which `expire` next has a fact to delete."""
        return min(self._left.values(), default=None)
