"""The client allow-list: which source addresses may connect to waypoints, in the kernel's table `weft_clients`."""

from collections.abc import Iterable

from agent.datapath.diff import Diff, diff
from agent.datapath.driver import Table
from agent.ir.tables import address_bytes, address_text


class AllowList:
    """The desired addresses, and those in the kernel."""

    def __init__(self, table: Table[bytes, bool], own: Iterable[str]) -> None:
        """`own` are this agent's addresses, from which it tries the listeners of waypoints: they always have room."""
        self._table = table
        self._own = frozenset(map(address_bytes, own))
        self._desired: frozenset[bytes] = frozenset()
        self._installed: dict[bytes, bool] = {}
        self.without_room: list[str] = []

    def want(self, addresses: Iterable[str]) -> None:
        """Replace who may connect, as many as there is room for."""
        wanted = sorted(set(map(address_bytes, addresses)) - self._own)
        room = self._table.capacity - len(self._own)
        self._desired = self._own | set(wanted[:room])
        self.without_room = [address_text(address) for address in wanted[room:]]

    def adopt(self) -> None:
        """Read the kernel's table. Raises `OSError`."""
        self._installed = self._table.load()

    def write(self) -> int:
        """Write the difference; returns how many rows that were. Raises `OSError`: `adopt`, then try again."""
        desired = dict.fromkeys(self._desired, True)
        change = diff(desired, self._installed)
        if change.deletes:
            self._table.delete(change.deletes)
        if change.upserts:
            self._table.upsert(change.upserts)
        self._installed = desired
        return len(change)

    def drift(self) -> Diff[bytes, bool]:
        """Compare the kernel's table with what was last written. Raises `OSError`."""
        return diff(self._installed, self._table.load())

    @property
    def fill(self) -> tuple[int, int]:
        """Rows in use and capacity."""
        return len(self._installed), self._table.capacity

    @property
    def failures(self) -> dict[str, str]:
        """Clients that do not fit, by name with the reason."""
        reason = f"no room for more than {self._table.capacity} clients of waypoints"
        return {f"client {address}": reason for address in self.without_room}
