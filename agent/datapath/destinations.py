"""The kernel's tables for the client's end of policies: protected addresses as destinations, and who the pods here are.

What does not fit has no row, and is refused at the server's end alone. These tables have room of their own, so pods of
other nodes take none of what the policies of this node's pods need.
"""

from collections.abc import Mapping
from itertools import islice

from agent.datapath.diff import diff
from agent.datapath.driver import AuthorizationTables
from agent.ir.authorization import Destination, DestinationRow, GrantKey, PeerRow
from agent.ir.tables import address_bytes


class Destinations:
    """Brings the tables in step with what is desired. Methods raise `OSError`: then `adopt`, and retry."""

    def __init__(self, tables: AuthorizationTables) -> None:
        self._tables = tables
        self._rows: dict[bytes, DestinationRow] = {}
        self._grants: dict[GrantKey, bool] = {}
        self._identities: dict[int, PeerRow] = {}
        self.left_out = 0
        """The number of addresses without room."""

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        tables = self._tables
        return {
            "destinations": (len(self._rows), tables.destinations.capacity),
            "destination_grants": (len(self._grants), tables.destination_grants.capacity),
        }

    def adopt(self) -> None:
        """Read the tables."""
        self._rows = self._tables.destinations.load()
        self._grants = self._tables.destination_grants.load()
        self._identities = self._tables.identities.load()

    def write(self, destinations: Mapping[str, Destination], identities: Mapping[int, PeerRow]) -> None:
        """Write what is desired. A row is written after the grants of its set, which are deleted after it. Identities
        of clients are known before a policy refuses one.
        """
        rows, grants = self._wanted(destinations)
        clients = dict(islice(identities.items(), self._tables.identities.capacity)) if rows else {}
        changed_clients, changed_rows = diff(clients, self._identities), diff(rows, self._rows)
        changed_grants = diff(grants, self._grants)
        self._tables.identities.delete(changed_clients.deletes)
        self._tables.identities.upsert(changed_clients.upserts)
        self._tables.destination_grants.upsert(changed_grants.upserts)
        self._tables.destinations.delete(changed_rows.deletes)
        self._tables.destinations.upsert(changed_rows.upserts)
        self._tables.destination_grants.delete(changed_grants.deletes)
        self._tables.count_destinations(len(rows))
        self._rows, self._grants, self._identities = rows, grants, clients

    def drift(self) -> int:
        """The number of rows that differ from what was last written."""
        tables = self._tables
        return (
            len(diff(self._rows, tables.destinations.load()))
            + len(diff(self._grants, tables.destination_grants.load()))
            + len(diff(self._identities, tables.identities.load()))
        )

    def _wanted(
        self, destinations: Mapping[str, Destination]
    ) -> tuple[dict[bytes, DestinationRow], dict[GrantKey, bool]]:
        """The rows and grants that fit, grants into half of the table: new ones are written before old ones go."""
        rows: dict[bytes, DestinationRow] = {}
        grants: dict[GrantKey, bool] = {}
        sets: set[int] = set()
        limit = self._tables.destination_grants.capacity // 2
        for address, destination in islice(destinations.items(), self._tables.destinations.capacity):
            row = destination.row
            if row.policy_set not in sets:
                if len(grants) + len(destination.grants) > limit:
                    continue
                sets.add(row.policy_set)
                grants |= {GrantKey(row.policy_set, it.identity, it.port): True for it in destination.grants}
            rows[address_bytes(address)] = row
        self.left_out = len(destinations) - len(rows)
        return rows, grants
