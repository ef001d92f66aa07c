"""Fair queueing of the work of namespaces: the namespace that has used the least goes first.

Start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng, 1996). A namespace that was idle starts where the others are:
idle time is no credit.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush
from typing import Generic, TypeVar

Work = TypeVar("Work", bound=Hashable)


class FairQueue(Generic[Work]):
    """Work that waits, each piece once, by namespace. Costs are in seconds, or in any other unit that all share."""

    def __init__(self, owner: Callable[[Work], str]) -> None:
        """`owner` is the namespace that a piece is charged to; empty for work that is nobody's."""
        self._owner = owner
        self._waiting: dict[str, OrderedDict[Work, None]] = {}
        # The namespaces that wait, by what each has used. An entry can be out of date: `pop` compares it with `_used`.
        self._order: list[tuple[float, str]] = []
        self._used: dict[str, float] = {}
        self._served = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, work: Work) -> bool:
        return work in self._waiting.get(self._owner(work), ())

    def add(self, work: Iterable[Work]) -> None:
        """Add work."""
        for item in work:
            owner = self._owner(item)
            if owner not in self._waiting:
                if not self._waiting:
                    self._reset()
                self._waiting[owner] = OrderedDict()
                self._used[owner] = max(self._used.get(owner, 0.0), self._served)
                heappush(self._order, (self._used[owner], owner))
            self._waiting[owner].setdefault(item)

    def add_first(self, item: Work) -> None:
        """Add a piece that goes before the others of its namespace."""
        self.add([item])
        self._waiting[self._owner(item)].move_to_end(item, last=False)

    def pop(self) -> Work:
        """The next piece. Raises `IndexError` when no work waits."""
        while True:
            used, owner = heappop(self._order)
            if used == self._used[owner]:
                break
            heappush(self._order, (self._used[owner], owner))
        self._served = used
        waiting = self._waiting[owner]
        item, _ = waiting.popitem(last=False)
        if waiting:
            heappush(self._order, (used, owner))
        else:
            del self._waiting[owner]
        return item

    def charge(self, owner: str, cost: float) -> None:
        """Charge a namespace with the cost of a piece."""
        self._used[owner] = self._used.get(owner, self._served) + cost

    def _reset(self) -> None:
        """Forget costs: nobody waits, so nobody has to make up for what it used."""
        self._order.clear()
        self._used.clear()
        self._served = 0.0
