"""What the hands offer: a table of the kernel as a mapping that can be loaded, written and deleted from."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from agent.plan.tables import Config, FrontendKey, PodRow, Reason, ServiceRow, Slot, Word

K = TypeVar("K")
V = TypeVar("V")


class Table(Protocol[K, V]):
    """One kernel table. Every method raises `OSError` with the kernel's errno; only the loop retries."""

    name: str
    capacity: int

    def load(self) -> dict[K, V]:
        """Every row that is there now. Array tables leave out rows that are all zero."""

    def upsert(self, rows: Mapping[K, V]) -> None:
        """Write rows, in the order given."""

    def delete(self, keys: Iterable[K]) -> None:
        """Delete rows; one that is not there is a success. Array tables write zeros."""


class Kernel(Protocol):
    """The tables of one node. A frontend's value is its index; the driver adds and checks the fingerprint."""

    pods: Table[int, PodRow]
    frontends: Table[FrontendKey, int]
    words: Table[int, Word]
    services: Table[int, ServiceRow]
    slots: Table[int, Slot]

    def configure(self, config: Config) -> None:
        """Replace the node's configuration in one write."""

    def counters(self) -> dict[Reason, int]:
        """Decisions so far by reason, summed over CPUs."""
