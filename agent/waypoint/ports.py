"""Which port each waypoint listener has: kept while the listener is wanted, read back after a restart."""

from collections.abc import Iterable, Mapping

from agent.datapath.allocate import RangeAllocator

FIRST_PORT = 20_000
LAST_PORT = 29_999


class Ports:
    """The listener ports of one waypoint."""

    def __init__(self, known: Mapping[str, int], others: Iterable[int], now: float) -> None:
        """Start from the ports that the kernel sends traffic to: those of known listeners, and others.

        Two listeners never keep one port: the first by name keeps it, the others get another one.
        """
        self.by_listener: dict[str, int] = {}
        for listener, port in sorted(known.items()):
            if FIRST_PORT <= port <= LAST_PORT and port not in self.by_listener.values():
                self.by_listener[listener] = port
        taken = set(self.by_listener.values()) | {port for port in others if FIRST_PORT <= port <= LAST_PORT}
        self._ranges = RangeAllocator(LAST_PORT - FIRST_PORT + 1, ((port - FIRST_PORT, 1) for port in taken), now)

    def assign(self, listener: str, now: float) -> int:
        """The listener's port, a new one when it has none. Raises `FullError`."""
        if listener not in self.by_listener:
            self.by_listener[listener] = FIRST_PORT + self._ranges.allocate(1, now)
        return self.by_listener[listener]

    def release(self, listener: str, now: float) -> None:
        """The listener was removed from Envoy; after a quarantine another one may get its port."""
        port = self.by_listener.pop(listener, None)
        if port is not None:
            self._ranges.free(port - FIRST_PORT, 1, now)
