"""A table of addresses, each with the policy set that admits its clients, and the table of the grants of those sets."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from agent.datapath.diff import diff
from agent.datapath.driver import Table
from agent.ir.authorization import Grant, GrantKey

V = TypeVar("V")


class GrantedRows(Generic[V]):
    """Writes both tables by difference. Methods raise `OSError`: then `adopt`, and retry."""

    def __init__(self, rows: Table[bytes, V], grants: Table[GrantKey, bool]) -> None:
        self._row_table, self._grant_table = rows, grants
        self._rows: dict[bytes, V] = {}
        self._grants: dict[GrantKey, bool] = {}

    @property
    def fill(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows in use and capacity, of the addresses and of the grants."""
        return (len(self._rows), self._row_table.capacity), (len(self._grants), self._grant_table.capacity)

    def adopt(self) -> None:
        """Read the tables."""
        self._rows, self._grants = self._row_table.load(), self._grant_table.load()

    def write(self, rows: dict[bytes, V], grants: dict[GrantKey, bool]) -> None:
        """Write what is desired: a row after the grants of its set, which are deleted after it."""
        changed_rows, changed_grants = diff(rows, self._rows), diff(grants, self._grants)
        self._grant_table.upsert(changed_grants.upserts)
        self._row_table.delete(changed_rows.deletes)
        self._row_table.upsert(changed_rows.upserts)
        self._grant_table.delete(changed_grants.deletes)
        self._rows, self._grants = rows, grants

    def drift(self) -> int:
        """The number of rows that differ from what was last written."""
        return len(diff(self._rows, self._row_table.load())) + len(diff(self._grants, self._grant_table.load()))


def grants_of(policy_set: int, grants: Iterable[Grant]) -> dict[GrantKey, bool]:
    """The rows of the grants of a set."""
    return {GrantKey(policy_set, grant.identity, grant.port): True for grant in grants}
