"""Listeners of the waypoint between wanted and gone: a pure state machine. Times are seconds of one monotonic clock.

An LDS acknowledgement alone is no promise: with RDS it comes while the listener still warms, and a route to an unknown
cluster is acknowledged too. So a listener is *probing* when everything that it depends on is acknowledged, and *ready*
once a connection to it was accepted as well. When it is not wanted any more the kernel stops sending first, and the
listener is *draining* for connections that are on their way. Then it is removed: Envoy asks its clients to leave with
each next response, and what streams has the drain time to end. All that while its routes and backends stay.
"""

from collections.abc import Collection, Mapping, Set
from enum import StrEnum

from agent.ir.envoy import DRAIN_SECONDS
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS


class Phase(StrEnum):
    """Where a listener is on its way."""

    PENDING = "pending"
    PROBING = "probing"
    READY = "ready"
    DRAINING = "draining"


class ListenerReadiness:
    """Which listeners are wanted, which drain, and which resources they depend on."""

    def __init__(self) -> None:
        self._needs: dict[str, frozenset[ResourceName]] = {}
        self._draining: dict[str, tuple[float, frozenset[ResourceName]]] = {}
        # Resources of listeners that were removed, until their last connections have ended.
        self._removed: dict[str, tuple[float, frozenset[ResourceName]]] = {}

    def want(self, needs: Mapping[str, frozenset[ResourceName]], now: float) -> None:
        """Replace the listeners that are wanted, each with the resources that it depends on, itself among them."""
        for listener in self._needs.keys() - needs.keys():
            self._draining[listener] = now + LISTENER_GRACE_SECONDS, self._needs[listener]
        for listener in needs.keys() & self._draining.keys():
            del self._draining[listener]
        self._needs = dict(needs)

    def expire(self, now: float) -> list[str]:
        """Listeners whose grace time is over; they are removed."""
        self._removed = {name: item for name, item in self._removed.items() if item[0] > now}
        gone = [listener for listener, (end, _) in self._draining.items() if end <= now]
        for listener in gone:
            _, needs = self._draining.pop(listener)
            left = frozenset(name for name in needs if name.kind is not ResourceType.LISTENER)
            self._removed[listener] = now + DRAIN_SECONDS, left
        return gone

    @property
    def deadline(self) -> float | None:
        """When `expire` will have something to do."""
        return min((end for end, _ in (*self._draining.values(), *self._removed.values())), default=None)

    def retained(self, wanted: Collection[str]) -> frozenset[ResourceName]:
        """Resources that Envoy keeps for listeners that are not wanted any more, when these are."""
        leaving = (names for listener, names in self._needs.items() if listener not in wanted)
        left = (names for _, names in (*self._draining.values(), *self._removed.values()))
        return frozenset().union(*leaving, *left)

    @property
    def wanted(self) -> Set[str]:
        """Names of the listeners that clients are to be sent to."""
        return self._needs.keys()

    @property
    def listeners(self) -> list[str]:
        """Names of the listeners that Envoy has or is to have."""
        return sorted(self._needs.keys() | self._draining.keys())

    def acknowledged(self, resources: Collection[ResourceName], accepting: Collection[str]) -> list[str]:
        """Wanted listeners to probe at an Envoy that acknowledged these resources: those not `accepting` there yet."""
        known = resources if isinstance(resources, frozenset) else frozenset(resources)
        return [name for name, needs in self._needs.items() if name not in accepting and needs <= known]

    def phase(self, listener: str, ready: Collection[str], probing: Collection[str]) -> Phase:
        """Where a listener is, by those that accept connections and those that are probed at the active Envoy."""
        if listener in self._draining:
            return Phase.DRAINING
        if listener in ready:
            return Phase.READY
        return Phase.PROBING if listener in probing else Phase.PENDING
