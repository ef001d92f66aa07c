"""The difference between two mappings, as what to write and what to delete."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Diff(Generic[K, V]):
    """Rows to write and keys to delete; empty (false) when nothing differs."""

    upserts: Mapping[K, V]
    deletes: tuple[K, ...]

    def __bool__(self) -> bool:
        return bool(self.upserts or self.deletes)

    def __len__(self) -> int:
        return len(self.upserts) + len(self.deletes)


def diff(desired: Mapping[K, V], actual: Mapping[K, V]) -> Diff[K, V]:
    """The changes that turn `actual` into `desired`, in the order of the two mappings."""
    upserts = {key: value for key, value in desired.items() if key not in actual or actual[key] != value}
    return Diff(upserts, tuple(key for key in actual if key not in desired))


def apply(change: Diff[K, V], actual: Mapping[K, V]) -> dict[K, V]:
    """`actual` after the change."""
    kept = {key: value for key, value in actual.items() if key not in set(change.deletes)}
    return kept | dict(change.upserts)
