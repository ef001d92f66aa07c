"""A kernel in dictionaries: capacity, failures on demand, and a reader that follows references as the C does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from errno import E2BIG, EIO
from typing import Generic, TypeVar

from agent.ir.authorization import DestinationRow, GrantKey, PeerRow, VerdictCounts
from agent.ir.tables import Action, Config, FrontendAction, FrontendKey, Mode, PodRow, Reason, ServiceRow, Slot

K = TypeVar("K")
V = TypeVar("V")


class InterruptedWriteError(OSError):
    """The fuse made this write fail."""


@dataclass
class Fuse:
    """Makes writes fail after `left` more writes; with None no write fails."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise InterruptedWriteError(EIO, "interrupted")
            self.left -= 1


@dataclass
class FakeTable(Generic[K, V]):
    name: str
    capacity: int
    fuse: Fuse
    rows: dict[K, V] = field(default_factory=dict)
    writes: int = 0

    def load(self) -> dict[K, V]:
        return dict(self.rows)

    def upsert(self, rows: Mapping[K, V]) -> None:
        for key, row in rows.items():
            self.fuse.burn()
            if key not in self.rows and len(self.rows) >= self.capacity:
                raise OSError(E2BIG, f"{self.name} is full")
            self.rows[key] = row
            self.writes += 1

    def delete(self, keys: Iterable[K]) -> None:
        for key in keys:
            self.fuse.burn()
            self.rows.pop(key, None)
            self.writes += 1


class FakeKernel:
    def __init__(
        self,
        frontends: int = 64,
        slots: int = 256,
        pods: int = 64,
        servers: int = 64,
        peers: int = 64,
        grants: int = 64,
    ) -> None:
        self.fuse = Fuse()
        self.pods: FakeTable[int, PodRow] = FakeTable("pods", pods, self.fuse)
        self.clients: FakeTable[bytes, bool] = FakeTable("clients", 64, self.fuse)
        self.servers: FakeTable[bytes, int] = FakeTable("servers", servers, self.fuse)
        self.peers: FakeTable[bytes, PeerRow] = FakeTable("peers", peers, self.fuse)
        self.grants: FakeTable[GrantKey, bool] = FakeTable("grants", grants, self.fuse)
        self.audited: FakeTable[bytes, int] = FakeTable("audited", servers, self.fuse)
        self.audited_grants: FakeTable[GrantKey, bool] = FakeTable("audited_grants", grants, self.fuse)
        self.verdicts: FakeTable[bytes, VerdictCounts] = FakeTable("verdicts", 2 * servers, self.fuse)
        self.destinations: FakeTable[bytes, DestinationRow] = FakeTable("destinations", servers, self.fuse)
        self.destination_grants: FakeTable[GrantKey, bool] = FakeTable("destination_grants", grants, self.fuse)
        self.identities: FakeTable[int, PeerRow] = FakeTable("identities", pods, self.fuse)
        self.destination_count = 0
        self.frontends: FakeTable[FrontendKey, int] = FakeTable("frontends", frontends, self.fuse)
        self.actions: FakeTable[int, FrontendAction] = FakeTable("actions", 2 * frontends, self.fuse)
        self.services: FakeTable[int, ServiceRow] = FakeTable("services", frontends, self.fuse)
        self.slots: FakeTable[int, Slot] = FakeTable("slots", slots, self.fuse)
        self.config = Config()
        self.open_connections: dict[int, int] = {}

    def count_destinations(self, count: int) -> None:
        self.destination_count = count

    def configure(self, config: Config) -> None:
        self.config = config

    def configuration(self) -> Config:
        return self.config

    def counters(self) -> dict[Reason, int]:
        return {}

    def connections(self) -> dict[int, int]:
        return self.open_connections

    @property
    def writes(self) -> int:
        return sum(t.writes for t in (self.pods, self.clients, self.frontends, self.actions, self.services, self.slots))

    def reach(
        self, key: FrontendKey, client: Mode
    ) -> tuple[FrontendAction, ServiceRow, frozenset[tuple[bytes, int, bool]]] | None:
        """What a client can read of a frontend: the action, the service, and every slot of its array."""
        index = self.frontends.rows.get(key)
        if index is None:
            return None
        action = self.actions.rows[2 * index + (client is Mode.L7)]
        slots: list[Slot] = []
        if action.kind is Action.FORWARD:
            slots = [self.slots.rows[position] for position in range(action.base, action.base + action.count)]
            assert all(0 <= slot.alias < action.count for slot in slots), "an alias outside of its array"
        return action, self.services.rows[index], frozenset((slot.address, slot.port, slot.reject) for slot in slots)
