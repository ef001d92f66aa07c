"""Which of a node's Envoys is active, and which one takes over from it: a pure state machine.

A newer Envoy is the *standby* as soon as it is connected, and is promoted when it serves whatever clients are sent to
now. The one before is then *draining*: it keeps its connections until they end. No older one becomes active again,
unless the active one is lost, or is not connected for REMEMBER_SECONDS while no client is sent to it.

A proof is an accepted connection to a listener at an address and port. It is the process's: one that starts again at
the same addresses has proved nothing. Times are seconds of one monotonic clock.
"""

from collections.abc import Iterable, Mapping

from agent.ir.addresses import Addresses, family_of
from agent.ir.envoy import Envoy
from agent.ir.waypoint_state import ListenerFamily

# How long an address is remembered as a waypoint's after its Envoy was last there: an agent that comes back is found
# sooner, and a pod that gets the address later is no waypoint.
REMEMBER_SECONDS = 5.0


class Failover:
    """The Envoys of a node, and what each has proved."""

    def __init__(self, active: Addresses, others: Iterable[str], now: float) -> None:
        """Start from the addresses that an earlier agent left in the kernel."""
        self.active = active
        # The process at these addresses; None: it has not been connected since this agent started.
        self.process: Envoy | None = None
        self._connected: list[Envoy] = []
        self._seen = dict.fromkeys([*active, *others], now)
        # By Envoy: the listener, its port, and the address where it accepted a connection.
        self._proofs: dict[Envoy, set[tuple[str, int, str]]] = {}

    def connect(self, envoys: Iterable[Envoy], now: float) -> None:
        """Which Envoys are connected. Where none is active yet, the newest becomes so at once: no client is sent there.
        The one at an address of the active one is active with all addresses that it has: an earlier version, of the
        agent or of the process, may have known of one family only.

        What a process proved is kept while it is connected, or is the active one.
        """
        self._connected = sorted(envoy for envoy in envoys if envoy.addresses)
        if not self.active and self._connected:
            self.active = self._connected[-1].addresses
        self._seen |= dict.fromkeys(self._connected_addresses(), now)
        self._seen = {address: at for address, at in self._seen.items() if now < at + REMEMBER_SECONDS}
        if (active := self.connected) is not None:
            self.promote(active)
        kept = [*self._connected, self.process] if self.process else self._connected
        self._proofs = {envoy: self._proofs.get(envoy, set()) for envoy in kept}

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
        return max((envoy for envoy in self._beside() if self.process and envoy > self.process), default=None)

    @property
    def newest(self) -> Envoy | None:
        """The newest of all that are connected: it is left when the active one is lost."""
        return max(self._connected, default=None)

    @property
    def draining(self) -> list[Envoy]:
        """Envoys that were active before, and are still there for those who are connected to them."""
        return [envoy for envoy in self._beside() if self.process and envoy < self.process]

    @property
    def others(self) -> tuple[str, ...]:
        """Addresses of other Envoys than the active one, the most recently seen first."""
        return tuple(sorted(self._seen.keys() - set(self.active), key=lambda address: (-self._seen[address], address)))

    def _beside(self) -> list[Envoy]:
        return [envoy for envoy in self._connected if not envoy.addresses.overlaps(self.active)]

    def _connected_addresses(self) -> set[str]:
        return {address for envoy in self._connected for address in envoy.addresses}

    def promote(self, envoy: Envoy) -> None:
        """New connections go to this one from now on."""
        self.active, self.process = envoy.addresses, envoy

    def prove(self, envoy: Envoy, listener: str, port: int, address: str) -> None:
        """This Envoy accepted a connection to a listener at one of its addresses."""
        if envoy in self._proofs:
            self._proofs[envoy].add((listener, port, address))

    def keep_proofs(self, ports: Mapping[str, int]) -> None:
        """Take back the proofs of listeners that are none of these, or have another port."""
        for envoy, proofs in self._proofs.items():
            self._proofs[envoy] = {proof for proof in proofs if ports.get(proof[0]) == proof[1]}

    def lose(self) -> None:
        """The active Envoy is gone, and what it had proved with it."""
        self._proofs.pop(self.process, None) if self.process else None

    def proved(self, envoy: Envoy | None) -> frozenset[ListenerFamily]:
        """Listeners that this Envoy has proved, by family."""
        proofs = self._proofs.get(envoy, ()) if envoy else ()
        return frozenset((listener, family_of(address)) for listener, _, address in proofs)
