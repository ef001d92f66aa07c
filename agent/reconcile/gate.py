"""When traffic may go to a listener, and when a listener may go: decided from what Envoy acknowledged.

An LDS acknowledgement alone is no promise: with RDS it comes while the listener still warms, and a route to an unknown
cluster is acknowledged too. So a listener is *due* when everything it depends on is acknowledged, and *ready* once a
connection to it was accepted as well. On the way back the kernel stops sending first, and the listener lingers for what
is on its way. Then it goes: Envoy asks its clients to leave with each next response, and what streams has the drain
time to end. All that while its routes and backends stay.
"""

from collections.abc import Collection, Mapping

from agent.plan.envoys import DRAIN_SECONDS
from agent.plan.resources import Json, ResourceName, ResourceType

LINGER_SECONDS = 30.0


class Gate:
    """Listeners between wanted and gone. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.ready: set[str] = set()
        self._resources: dict[ResourceName, Json] = {}
        self._needs: dict[str, frozenset[ResourceName]] = {}
        self._lingering: dict[str, float] = {}
        self._draining: dict[str, tuple[float, frozenset[ResourceName]]] = {}

    def want(
        self,
        resources: Mapping[ResourceName, Json],
        needs: Mapping[str, frozenset[ResourceName]],
        now: float,
    ) -> dict[ResourceName, Json]:
        """Everything that Envoy shall have: what is wanted, and what lingers for listeners that are not any more."""
        for listener in self._needs.keys() - needs.keys():
            self._lingering.setdefault(listener, now + LINGER_SECONDS)
        for listener in needs:
            self._lingering.pop(listener, None)
        for listener in self._lingering.keys() & self._needs.keys():
            self.ready.discard(listener)
        kept = {name for listener in self._lingering for name in self._needs[listener]}
        kept |= {name for _, left in self._draining.values() for name in left}
        old = {name: value for name, value in self._resources.items() if name in kept}
        self._needs = {listener: self._needs[listener] for listener in self._lingering} | dict(needs)
        self._resources = old | dict(resources)
        return self._resources

    def expire(self, now: float) -> list[str]:
        """Listeners whose time is over: `want` leaves them out, and once they have drained also where they lead."""
        self._draining = {listener: drain for listener, drain in self._draining.items() if drain[0] > now}
        gone = [listener for listener, end in self._lingering.items() if end <= now]
        for listener in gone:
            del self._lingering[listener]
            needs = frozenset(name for name in self._needs.pop(listener) if name.kind is not ResourceType.LISTENER)
            self._draining[listener] = (now + DRAIN_SECONDS, needs)
        return gone

    @property
    def next_end(self) -> float | None:
        """When `expire` will have something to do."""
        return min([*self._lingering.values(), *(end for end, _ in self._draining.values())], default=None)

    def due(self, acknowledged: Collection[ResourceName], proved: Collection[str]) -> list[str]:
        """Wanted listeners that may be tried at an Envoy: not proved there yet, everything they need acknowledged."""
        known = set(acknowledged)
        return [
            listener
            for listener, needs in self._needs.items()
            if listener not in proved and listener not in self._lingering and needs <= known
        ]

    @property
    def wanted(self) -> set[str]:
        """Names of the listeners that clients shall be sent to."""
        return self._needs.keys() - self._lingering.keys()

    def lose(self) -> None:
        """The waypoint is gone: every listener has to prove itself again."""
        self.ready.clear()

    def state(self, listener: str) -> str:
        """`ready`, `leaving` (not wanted any more, kept for who is connected), or `waiting` for Envoy."""
        if listener in self._lingering:
            return "leaving"
        return "ready" if listener in self.ready else "waiting"

    @property
    def listeners(self) -> list[str]:
        """Names of the listeners that Envoy has or shall have."""
        return sorted(
            {name.name for name in self._resources if name.kind is ResourceType.LISTENER} | self._needs.keys()
        )
