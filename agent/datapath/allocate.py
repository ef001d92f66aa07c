"""Allocation of indices and slot ranges. A freed range is quarantined before it is used again, because a program may
still read it.

A program that runs during a change can hold an index or a slot base for as long as it runs. Programs end within
microseconds; a second is far beyond the longest preemption, and cheap.

Space in quarantine is shared too: a namespace that replaces all it has at every moment would leave nothing for the
changes of others. So what one namespace has in quarantine has a budget, of all that is not in use.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from heapq import heappop, heappush

from agent.budget import Budget, Refusal

QUARANTINE_SECONDS = 1.0


class FullError(Exception):
    """There is no free range of this length, and waiting does not help."""


class QuarantinedError(FullError):
    """There is a free range of this length, but it is quarantined: retry later."""


class OverBudgetError(FullError):
    """A budget refuses the growth."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class _Gaps:
    """Free ranges `[start, end)`; adjacent ones are merged. Every method takes O(log n) steps and moves O(n) bytes."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: dict[int, int] = {}
        self._sizes: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Add a range that overlaps no gap."""
        position = bisect_left(self._starts, start)
        if position < len(self._starts) and self._starts[position] == end:
            end = self._drop(position)
        if position and self._ends[self._starts[position - 1]] == start:
            position -= 1
            start = self._starts[position]
            self._drop(position)
        self._starts.insert(position, start)
        self._ends[start] = end
        insort(self._sizes, (end - start, start))

    def take(self, start: int, end: int) -> None:
        """Remove a range from the gap that contains it."""
        position = bisect_right(self._starts, start) - 1
        first = self._starts[position]
        last = self._drop(position)
        if first < start:
            self.add(first, start)
        if end < last:
            self.add(end, last)

    def fitting(self, length: int) -> int | None:
        """The start of the smallest gap of at least this length, the lowest of them; None when there is none."""
        position = bisect_left(self._sizes, (length, 0))
        return self._sizes[position][1] if position < len(self._sizes) else None

    def _drop(self, position: int) -> int:
        """Remove a gap; returns its end."""
        start = self._starts.pop(position)
        end = self._ends.pop(start)
        del self._sizes[bisect_left(self._sizes, (end - start, start))]
        return end


class RangeAllocator:
    """Allocates ranges in `[0, capacity)`: best fit, with quarantine. Times are seconds of one monotonic clock."""

    def __init__(self, capacity: int, used: Iterable[tuple[int, int]] = (), now: float = 0.0) -> None:
        """Start from the `(start, length)` ranges in use, if any.

        Which ranges were freed before a restart is not known, so all free space is quarantined first when something is
        in use.
        """
        self.capacity = capacity
        self.used = 0
        self._free = _Gaps()
        self._usable = _Gaps()
        self._quarantined: list[tuple[float, int, int, str]] = []
        # Of what is not in use, what was freed less than `QUARANTINE_SECONDS` ago.
        self._in_quarantine = Budget("free rows in quarantine", capacity)
        known, position = sorted(set(used)), 0
        ready = now + QUARANTINE_SECONDS if known else now
        for start, length in [*known, (capacity, 0)]:
            if start > position:
                self._quarantine(position, start, ready, "")
            position = max(position, start + length)
            self._use(length)
        self._release(now)

    def allocate(self, length: int, now: float, namespace: str = "") -> int:
        """The start of a range of this length. Raises `FullError`, or `QuarantinedError` when waiting helps, or
        `OverBudgetError` when the namespace, if one is given, has too much in quarantine.
        """
        self._release(now)
        start = self._usable.fitting(length)
        if start is not None:
            self._check_quarantine(namespace, length)
            self._usable.take(start, start + length)
            self._free.take(start, start + length)
            self._use(length)
            return start
        if self._free.fitting(length) is not None:
            raise QuarantinedError(f"room for {length} is quarantined")
        raise FullError(f"no room for {length} in {self.capacity}, {self.used} of them in use")

    def free(self, start: int, length: int, now: float, namespace: str = "") -> None:
        """Free a range; its quarantine starts now, charged to the namespace."""
        self._quarantine(start, start + length, now + QUARANTINE_SECONDS, namespace)
        self._use(-length)

    def _use(self, length: int) -> None:
        """Count what is in use, and what is left for the quarantine."""
        self.used += length
        self._in_quarantine.capacity -= length

    def _check_quarantine(self, namespace: str, length: int) -> None:
        """Raise `OverBudgetError` if a namespace may not have so much more in quarantine: there it will have what it
        replaces by the new range. One with nothing in quarantine is not asked: its largest range can be replaced.
        """
        if namespace and namespace in self._in_quarantine.used:
            refusal = self._in_quarantine.refusal(namespace, length)
            if refusal:
                raise OverBudgetError(refusal)

    def _quarantine(self, start: int, end: int, ready: float, namespace: str) -> None:
        """Quarantine a range until `ready`."""
        self._free.add(start, end)
        self._in_quarantine.add(namespace, end - start)
        heappush(self._quarantined, (ready, start, end, namespace))

    def _release(self, now: float) -> None:
        """Release the ranges whose quarantine is over."""
        while self._quarantined and self._quarantined[0][0] <= now:
            _, start, end, namespace = heappop(self._quarantined)
            self._usable.add(start, end)
            self._in_quarantine.add(namespace, start - end)
