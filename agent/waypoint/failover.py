"""Which of a node's Envoys is active, and which one takes over from it: a pure state machine.

A newer Envoy is the *standby* as soon as it is connected, and is promoted when it serves whatever clients are sent to
now. The one before is then *draining*: it keeps its connections until they end. No older one becomes active again,
unless the active one is lost, or is not connected for REMEMBER_SECONDS while no client is sent to it.

A proof is an accepted connection to a listener at a port. It is the process's: one that starts again at the same
address has proved nothing. Times are seconds of one monotonic clock.
"""

from collections.abc import Iterable, Mapping

from agent.ir.envoy import Envoy

# How long an address is remembered as a waypoint's after its Envoy was last there: an agent that comes back is found
# sooner, and a pod that gets the address later is no waypoint.
REMEMBER_SECONDS = 5.0


class Failover:
    """The Envoys of a node, and what each has proved."""

    def __init__(self, active: str, others: Iterable[str], now: float) -> None:
        """Start from the addresses that an earlier agent left in the kernel; empty: there is none."""
        self.active = active
        # The process at that address; None: it has not been connected since this agent started.
        self.process: Envoy | None = None
        self._connected: list[Envoy] = []
        self._seen = dict.fromkeys([active, *others] if active else others, now)
        self._proofs: dict[Envoy, set[tuple[str, int]]] = {}

    def connect(self, envoys: Iterable[Envoy], now: float) -> None:
        """Which Envoys are connected. Where none is active yet, the newest becomes so at once: no client is sent there.

        What a process proved is kept while it is connected, or is the active one.
        """
        self._connected = sorted(envoy for envoy in envoys if envoy.address)
        if not self.active and self._connected:
            self.active = self._connected[-1].address
        self._seen |= dict.fromkeys((envoy.address for envoy in self._connected), now)
        self._seen = {address: at for address, at in self._seen.items() if now - at < REMEMBER_SECONDS}
        self.process = self.connected or self.process
        kept = [*self._connected, self.process] if self.process else self._connected
        self._proofs = {envoy: self._proofs.get(envoy, set()) for envoy in kept}

    @property
    def connected(self) -> Envoy | None:
        """The active Envoy, while it is connected."""
        return max((envoy for envoy in self._connected if envoy.address == self.active), default=None)

    @property
    def absent(self) -> bool:
        """Whether the active address has had no connected Envoy for REMEMBER_SECONDS."""
        return self.active not in self._seen

    @property
    def deadline(self) -> float | None:
        """When `connect` will forget an address whose Envoy is not connected."""
        connected = {envoy.address for envoy in self._connected}
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
        return tuple(sorted(self._seen.keys() - {self.active}, key=lambda address: (-self._seen[address], address)))

    def _beside(self) -> list[Envoy]:
        return [envoy for envoy in self._connected if envoy.address != self.active]

    def promote(self, envoy: Envoy) -> None:
        """New connections go to this one from now on."""
        self.active, self.process = envoy.address, envoy

    def prove(self, envoy: Envoy, listener: str, port: int) -> None:
        """This Envoy accepted a connection to a listener."""
        if envoy in self._proofs:
            self._proofs[envoy].add((listener, port))

    def keep_proofs(self, ports: Mapping[str, int]) -> None:
        """Take back the proofs of listeners that are none of these, or have another port."""
        for proofs in self._proofs.values():
            proofs.intersection_update(ports.items())

    def lose(self) -> None:
        """The active Envoy is gone, and what it had proved with it."""
        self._proofs.pop(self.process, None) if self.process else None

    def proved(self, envoy: Envoy | None) -> frozenset[str]:
        """Listeners that this Envoy has proved."""
        return frozenset(listener for listener, _ in self._proofs.get(envoy, ())) if envoy else frozenset()
