"""The interface to the kernel: each table is a mapping that can be loaded, written and deleted from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from agent.ir import tables
from agent.ir.authorization import DestinationRow, GrantKey, PeerRow, VerdictCounts
from agent.ir.tables import Config, FrontendAction, FrontendKey, PodRow, Reason, ServiceRow, Slot, SocketAddress

K = TypeVar("K")
V = TypeVar("V")


class Table(Protocol[K, V]):
    """One kernel table. Every method raises `OSError` with the errno of the kernel; only the loop retries."""

    @property
    def capacity(self) -> int:
        """The capacity in rows."""

    def load(self) -> dict[K, V]:
        """Every row. Array tables leave out rows that are all zero."""

    def upsert(self, rows: Mapping[K, V]) -> None:
        """Write rows, in the order given."""

    def delete(self, keys: Iterable[K]) -> None:
        """Delete rows; a row that does not exist is a success. Array tables write zeros."""


class AuthorizationTables(Protocol):
    """The tables of authorization of one node."""

    @property
    def servers(self) -> Table[bytes, int]:
        """`weft_servers`: the policy set of each address of a protected pod."""

    @property
    def peers(self) -> Table[bytes, PeerRow]:
        """`weft_peers`, by source address."""

    @property
    def grants(self) -> Table[GrantKey, bool]:
        """`weft_grants`; a row is always True."""

    @property
    def audited(self) -> Table[bytes, int]:
        """`weft_audited`: as `weft_servers`, with audited policies enforced too."""

    @property
    def audited_grants(self) -> Table[GrantKey, bool]:
        """`weft_audited_grants`; a row is always True."""

    @property
    def verdicts(self) -> Table[bytes, VerdictCounts]:
        """`weft_verdicts`, by address of a pod."""

    @property
    def destinations(self) -> Table[bytes, DestinationRow]:
        """`weft_destinations`, by address."""

    @property
    def destination_grants(self) -> Table[GrantKey, bool]:
        """`weft_destination_grants`; a row is always True."""

    @property
    def identities(self) -> Table[int, PeerRow]:
        """`weft_identities`, by cgroup id."""

    def count_destinations(self, count: int) -> None:
        """Set the number of destinations; with 0 the programs look for none."""


class Kernel(AuthorizationTables, Protocol):
    """The tables of one node. A frontend's value is its index; the driver adds and checks the fingerprint."""

    @property
    def pods(self) -> Table[int, PodRow]:
        """`weft_pods`, by cgroup id."""

    @property
    def clients(self) -> Table[bytes, bool]:
        """`weft_clients`, by source address; a row is always True."""

    @property
    def frontends(self) -> Table[FrontendKey, int]:
        """`weft_frontends`."""

    @property
    def actions(self) -> Table[int, FrontendAction]:
        """`weft_actions`, two for each frontend index."""

    @property
    def services(self) -> Table[int, ServiceRow]:
        """`weft_services`, by frontend index."""

    @property
    def slots(self) -> Table[int, Slot]:
        """`weft_slots`."""

    def configure(self, config: Config) -> None:
        """Replace the configuration of the node in one write."""

    def configuration(self) -> Config:
        """The configuration of the node that is in use."""

    def counters(self) -> dict[Reason, int]:
        """Decisions so far by reason, summed over CPUs."""

    def connections(self) -> dict[int, int]:
        """Connections to the waypoint by namespace id; all of them under the key `ALL_NAMESPACES`."""


@dataclass(frozen=True, slots=True)
class BackendsRemoved:
    """A frontend that may have lost backends. `backends` are those that remain in any view of it."""

    protocol: tables.Protocol
    address: SocketAddress
    backends: frozenset[SocketAddress]
