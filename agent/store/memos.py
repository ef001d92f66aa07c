"""Answers that many units of translation need, each computed once until something that it was computed from changes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from agent.store.indices import ReadKey


@dataclass(frozen=True, slots=True)
class Memo:
    """An answer, and the reads that it was computed from."""

    value: object
    reads: frozenset[ReadKey]


class Memos:
    """The answers by name."""

    def __init__(self) -> None:
        self._memos: dict[ReadKey, Memo] = {}
        self._readers: dict[ReadKey, set[ReadKey]] = defaultdict(set)

    def get(self, name: ReadKey) -> Memo | None:
        """The answer, None when it is to be computed."""
        return self._memos.get(name)

    def add(self, name: ReadKey, value: object, reads: Iterable[ReadKey]) -> Memo:
        """Keep an answer until one of its reads changes."""
        memo = self._memos[name] = Memo(value, frozenset(reads))
        for key in memo.reads:
            self._readers[key].add(name)
        return memo

    def invalidate(self, touched: Iterable[ReadKey]) -> None:
        """Remove the answers that were computed from these reads."""
        for name in {name for key in touched for name in self._readers.get(key, ())}:
            for key in self._memos.pop(name).reads:
                self._readers[key].discard(name)
                if not self._readers[key]:
                    del self._readers[key]
