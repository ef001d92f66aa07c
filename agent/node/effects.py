"""What the datapath's controller needs from its owner: side effects, and metrics."""

from typing import Protocol

from agent.datapath.driver import BackendsRemoved
from agent.ir.waypoint_state import ClientsRevoked
from agent.waypoint.probing import Prober


class Effects(Prober, Protocol):
    """The side effects that the loop needs from its owner."""

    def attach(self) -> list[str] | None:
        """Attach programs; returns the names of those that were detached, None without kubepods. Raises `OSError`."""

    def backends_removed(self, frontends: list[BackendsRemoved]) -> None:
        """Terminate sockets that are connected to removed backends."""

    def clients_revoked(self, clients: list[ClientsRevoked]) -> None:
        """Terminate connections to waypoints whose clients are not admitted any more."""


class PassMetrics(Protocol):
    """The metrics of a pass."""

    def applied(self, writes: int, seconds: float) -> None:
        """Count a pass that wrote this many rows."""

    def drifted(self, rows: int) -> None:
        """Count rows that an audit found different from what was written."""
