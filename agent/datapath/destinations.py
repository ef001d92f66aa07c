"""The kernel's tables for the client's end of policies: protected addresses as destinations, and who the pods here are.

What does not fit has no row, and is refused at the server's end alone. These tables have room of their own, so pods of
other nodes take none of what the policies of this node's pods need.
"""

from collections.abc import Mapping
from itertools import islice

from agent.datapath.diff import diff
from agent.datapath.driver import AuthorizationTables
from agent.datapath.granted_rows import GrantedRows, grants_of
from agent.ir.authorization import Destination, DestinationRow, GrantKey, PeerRow
from agent.ir.tables import address_bytes


class Destinations:
    """Brings the tables in step with what is desired. Methods raise `OSError`: then `adopt`, and retry."""

    def __init__(self, tables: AuthorizationTables) -> None:
        self._tables = tables
        self._rows = GrantedRows(tables.destinations, tables.destination_grants)
        self._identities: dict[int, PeerRow] = {}
        self.left_out = 0
        """The number of addresses without room."""

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        return dict(zip(("destinations", "destination_grants"), self._rows.fill, strict=True))

    def adopt(self) -> None:
        """Read the tables."""
        self._rows.adopt()
        self._identities = self._tables.identities.load()

    def write(self, destinations: Mapping[str, Destination], identities: Mapping[int, PeerRow]) -> None:
        """Write what is desired. Identities of clients are known before a policy refuses one."""
        rows, grants = self._wanted(destinations)
        clients = dict(islice(identities.items(), self._tables.identities.capacity)) if rows else {}
        changed_clients = diff(clients, self._identities)
        self._tables.identities.delete(changed_clients.deletes)
        self._tables.identities.upsert(changed_clients.upserts)
        self._rows.write(rows, grants)
        self._tables.count_destinations(len(rows))
        self._identities = clients

    def drift(self) -> int:
        """The number of rows that differ from what was last written."""
        return self._rows.drift() + len(diff(self._identities, self._tables.identities.load()))

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
                grants |= grants_of(row.policy_set, destination.grants)
            rows[address_bytes(address)] = row
        self.left_out = len(destinations) - len(rows)
        return rows, grants
