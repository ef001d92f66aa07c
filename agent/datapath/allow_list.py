"""The client allow-list: which source addresses may connect to waypoints, in the kernel's table `weft_clients`."""

from collections.abc import Iterable

from agent.datapath.diff import Diff, diff
from agent.datapath.driver import Table
from agent.ir.tables import address_bytes, address_text


class AllowList:
    """The desired addresses, and those in the kernel."""

    def __init__(self, table: Table[bytes, bool], own: Iterable[str]) -> None:
        """`own` are the addresses of this agent, from which it probes waypoint listeners: they always have room."""
        self._table = table
        self._own = frozenset(map(address_bytes, own))
        self._desired: frozenset[bytes] = frozenset()
        self._installed: dict[bytes, bool] = {}
        self.rejected: list[str] = []

    def want(self, addresses: Iterable[str]) -> None:
        """Replace the clients that may connect, as many as fit."""
        wanted = sorted(set(map(address_bytes, addresses)) - self._own)
        limit = self._table.capacity - len(self._own)
        self._desired = self._own | set(wanted[:limit])
        self.rejected = [address_text(address) for address in wanted[limit:]]

    def adopt(self) -> None:
        """Read the table. Raises `OSError`."""
        self._installed = self._table.load()

    def write(self) -> int:
        """Write the difference; returns the number of rows written. Raises `OSError`: call `adopt`, then retry."""
        desired = dict.fromkeys(self._desired, True)
        change = diff(desired, self._installed)
        if change.deletes:
            self._table.delete(change.deletes)
        if change.upserts:
            self._table.upsert(change.upserts)
        self._installed = desired
        return len(change)

    def drift(self) -> Diff[bytes, bool]:
        """Compare the table with what was last written. Raises `OSError`."""
        return diff(self._installed, self._table.load())

    @property
    def fill(self) -> tuple[int, int]:
        """Rows in use and capacity."""
        return len(self._installed), self._table.capacity

    @property
    def failures(self) -> dict[str, str]:
        """Clients that do not fit: name → reason."""
        reason = f"no room for more than {self._table.capacity} clients of waypoints"
        return {f"client {address}": reason for address in self.rejected}
