"""Which of a node's Envoys is active, and which one takes over from it: a pure state machine.

A newer Envoy is the *standby* as soon as it is connected, and is promoted when it serves whatever clients are sent to
now. The one before is then *draining*: it keeps its connections until they end. No older one becomes active again,
unless the active one is lost, or is not connected for REMEMBER_SECONDS while no client is sent to it.

An Envoy accepts at a listener when a probe connected to it, at an address and port. That holds for one process: after
a restart at the same addresses the listener is probed again. Times are seconds of one monotonic clock.
"""

from collections.abc import Iterable, Mapping

from agent.ir.addresses import Addresses, family_of
from agent.ir.envoy import Envoy
from agent.ir.waypoint_state import ListenerFamily

# How long an address is remembered as a waypoint's after its Envoy was last there: an agent that comes back is found
# sooner, and a pod that gets the address later is no waypoint.
REMEMBER_SECONDS = 5.0


class Failover:
    """The Envoys of a node, and the listeners at which each accepts connections."""

    def __init__(self, active: Addresses, others: Iterable[str], now: float) -> None:
        """Start from the addresses that an earlier agent left in the kernel."""
        self.active = active
        # The process at these addresses; None: it has not been connected since this agent started.
        self.process: Envoy | None = None
        self._connected: list[Envoy] = []
        self._seen = dict.fromkeys([*active, *others], now)
        # By Envoy: the listener, its port, and the address where it accepted a connection.
        self._accepted: dict[Envoy, set[tuple[str, int, str]]] = {}

    def connect(self, envoys: Iterable[Envoy], now: float) -> None:
        """Set the connected Envoys. Where none is active yet, the newest becomes active at once: it has no clients.
        An Envoy at an address of the active one is active with all of its addresses: an earlier version, of the agent
        or of the process, may have known one family only.

        What a process accepts is remembered while it is connected, or is the active one.
        """
        self._connected = sorted(envoy for envoy in envoys if envoy.addresses)
        if not self.active and self._connected:
            self.active = self._connected[-1].addresses
        self._seen |= dict.fromkeys(self._connected_addresses(), now)
        self._seen = {address: at for address, at in self._seen.items() if now < at + REMEMBER_SECONDS}
        if (active := self.connected) is not None:
            self.promote(active)
        kept = [*self._connected, self.process] if self.process else self._connected
        self._accepted = {envoy: self._accepted.get(envoy, set()) for envoy in kept}

    @property
    def connected(self) -> Envoy | None:
        """The active Envoy, while it is connected."""
        return max((envoy for envoy in self._connected if envoy.addresses.overlaps(self.active)), default=None)

    @property
    def absent(self) -> bool:
        """Whether the active addresses have had no connected Envoy for REMEMBER_SECONDS."""
        return self._seen.keys().isdisjoint(self.active)

    @property
    def deadline(self) -> float | None:
        """When `connect` will forget an address whose Envoy is not connected."""
        connected = self._connected_addresses()
        ends = (at + REMEMBER_SECONDS for address, at in self._seen.items() if address not in connected)
        return min(ends, default=None)

    @property
    def standby(self) -> Envoy | None:
        """The newest Envoy that is newer than the active one; none while that one's age is not known."""
        return max((envoy for envoy in self._others() if self.process and envoy > self.process), default=None)

    @property
    def newest(self) -> Envoy | None:
        """The newest connected Envoy: it becomes active when the active one is lost."""
        return max(self._connected, default=None)

    @property
    def draining(self) -> list[Envoy]:
        """Envoys that were active before, and still have clients' connections."""
        return [envoy for envoy in self._others() if self.process and envoy < self.process]

    @property
    def others(self) -> tuple[str, ...]:
        """Addresses of other Envoys than the active one, the most recently seen first."""
        return tuple(sorted(self._seen.keys() - set(self.active), key=lambda address: (-self._seen[address], address)))

    def _others(self) -> list[Envoy]:
        return [envoy for envoy in self._connected if not envoy.addresses.overlaps(self.active)]

    def _connected_addresses(self) -> set[str]:
        return {address for envoy in self._connected for address in envoy.addresses}

    def promote(self, envoy: Envoy) -> None:
        """Make this Envoy active: new connections go to it from now on."""
        self.active, self.process = envoy.addresses, envoy

    def record_accepted(self, envoy: Envoy, listener: str, port: int, address: str) -> None:
        """This Envoy accepted a connection to a listener at one of its addresses."""
        if envoy in self._accepted:
            self._accepted[envoy].add((listener, port, address))

    def retain_accepted(self, ports: Mapping[str, int]) -> None:
        """Forget what was accepted at other listeners than these, or at another port."""
        for envoy, accepted in self._accepted.items():
            self._accepted[envoy] = {item for item in accepted if ports.get(item[0]) == item[1]}

    def lose(self) -> None:
        """The active Envoy is gone: forget what it accepted."""
        self._accepted.pop(self.process, None) if self.process else None

    def accepting(self, envoy: Envoy | None) -> frozenset[ListenerFamily]:
        """Listeners at which this Envoy accepted a connection, by family."""
        accepted = self._accepted.get(envoy, ()) if envoy else ()
        return frozenset((listener, family_of(address)) for listener, _, address in accepted)
