"""What the kernel's tables of authorization hold, and whom they admit. Apart from what writes them: commands and the
process that terminates sockets only read them, and start often.
"""

from typing import NamedTuple

from agent.datapath.driver import AuthorizationTables, Table
from agent.ir.authorization import Grant, GrantKey, PeerRow, admits


class AuthorizationRows(NamedTuple):
    """The rows of the tables: policy sets by server address, peers by source address, and the grants of each set."""

    servers: dict[bytes, int]
    peers: dict[bytes, PeerRow]
    grants: dict[int, frozenset[Grant]]

    def admits(self, server: bytes, client: bytes | None, port: int) -> bool:
        """Whether a server address with a row admits a source address at a port; None: no address is known."""
        found = self.grants.get(self.servers[server], ())
        return server == client or admits(found, self.peers.get(client) if client else None, port)


def read(tables: AuthorizationTables) -> AuthorizationRows:
    """Read the tables. Raises `OSError`."""
    # The grants first: while an agent writes, a server that still has its set then has had it all the time.
    grants = _by_set(tables.grants)
    return AuthorizationRows(tables.servers.load(), tables.peers.load(), grants)


def read_audited(tables: AuthorizationTables, rows: AuthorizationRows) -> AuthorizationRows:
    """Read what would be in the tables if audited policies were enforced too; of the peers those of `rows`. Raises
    `OSError`.
    """
    return rows._replace(servers=tables.audited.load(), grants=_by_set(tables.audited_grants))


def _by_set(table: Table[GrantKey, bool]) -> dict[int, frozenset[Grant]]:
    found: dict[int, set[Grant]] = {}
    for key in table.load():
        found.setdefault(key.policy_set, set()).add(Grant(key.identity, key.port))
    return {number: frozenset(items) for number, items in found.items()}


def read_unchanged(tables: AuthorizationTables) -> AuthorizationRows:
    """Read the tables while an agent may write them, with the server addresses whose policy set stays the same
    meanwhile: its grants are complete then. Raises `OSError`.
    """
    before = tables.servers.load()
    rows = read(tables)
    return rows._replace(servers={address: it for address, it in rows.servers.items() if before.get(address) == it})
