"""Allocation of indices and slot ranges. A freed range is quarantined before it is used again, because a program may
still read it.

A program that runs during a change can hold an index or a slot base for as long as it runs. Programs end within
microseconds; a second is far beyond the longest preemption, and cheap.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from heapq import heappop, heappush

QUARANTINE_SECONDS = 1.0


class FullError(Exception):
    """There is no free range of this length, and waiting does not help."""


class QuarantinedError(FullError):
    """There is a free range of this length, but it is quarantined: retry later."""


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
        self._quarantined: list[tuple[float, int, int]] = []
        known, position = sorted(set(used)), 0
        ready = now + QUARANTINE_SECONDS if known else now
        for start, length in [*known, (capacity, 0)]:
            if start > position:
                self._quarantine(position, start, ready)
            position = max(position, start + length)
            self.used += length
        self._release(now)

    def allocate(self, length: int, now: float) -> int:
        """The start of a range of this length. Raises `FullError`, or `QuarantinedError` when waiting helps."""
        self._release(now)
        start = self._usable.fitting(length)
        if start is not None:
            self._usable.take(start, start + length)
            self._free.take(start, start + length)
            self.used += length
            return start
        if self._free.fitting(length) is not None:
            raise QuarantinedError(f"room for {length} is quarantined")
        raise FullError(f"no room for {length} in {self.capacity}, {self.used} of them in use")

    def free(self, start: int, length: int, now: float) -> None:
        """Free a range; its quarantine starts now."""
        self._quarantine(start, start + length, now + QUARANTINE_SECONDS)
        self.used -= length

    def _quarantine(self, start: int, end: int, ready: float) -> None:
        """Quarantine a range until `ready`."""
        self._free.add(start, end)
        heappush(self._quarantined, (ready, start, end))

    def _release(self, now: float) -> None:
        """Release the ranges whose quarantine is over."""
        while self._quarantined and self._quarantined[0][0] <= now:
            _, start, end = heappop(self._quarantined)
            self._usable.add(start, end)
