"""Space for things that the kernel may still be reading: what is freed rests before it is used again.

A program that runs at the moment of a change may hold an index or a slot base for as long as it runs. Programs end
within microseconds; a second is far beyond the longest preemption, and cheap.
"""

from collections.abc import Iterable
from dataclasses import dataclass

REST_SECONDS = 1.0


class FullError(Exception):
    """There is no space of this size."""


class RestingError(FullError):
    """There is space of this size, but it rests: try again in a moment."""


@dataclass(slots=True)
class _Gap:
    """Free space `[start, end)`, usable from the clock reading `ready` on."""

    start: int
    end: int
    ready: float


class Ranges:
    """An allocator of ranges in `[0, capacity)`: first fit, with rest. Times are seconds of one monotonic clock."""

    def __init__(self, capacity: int, used: Iterable[tuple[int, int]] = (), now: float = 0.0) -> None:
        """Start from the `(start, length)` ranges that are in use, if any.

        What was freed before a restart is not known, so all free space rests first when something is in use.
        """
        self.capacity = capacity
        self.used = 0
        self._gaps: list[_Gap] = []
        ready, position = 0.0, 0
        for start, length in sorted(set(used)):
            ready = now + REST_SECONDS
            if start > position:
                self._gaps.append(_Gap(position, start, ready))
            position = max(position, start + length)
            self.used += length
        if position < capacity:
            self._gaps.append(_Gap(position, capacity, ready))

    def allocate(self, length: int, now: float) -> int:
        """The start of a range of this length. Raises `FullError`, or `RestingError` when waiting helps."""
        self._join(now)
        for gap in self._gaps:
            if gap.ready <= now and gap.end - gap.start >= length:
                start, gap.start = gap.start, gap.start + length
                if gap.start == gap.end:
                    self._gaps.remove(gap)
                self.used += length
                return start
        if any(gap.end - gap.start >= length for gap in self._gaps):
            raise RestingError(f"room for {length} is resting")
        raise FullError(f"no room for {length} in {self.capacity}, {self.used} of them in use")

    def free(self, start: int, length: int, now: float) -> None:
        """Give a range back; it rests from now on."""
        self._gaps.append(_Gap(start, start + length, now + REST_SECONDS))
        self._gaps.sort(key=lambda gap: gap.start)
        self.used -= length

    def _join(self, now: float) -> None:
        """Make one gap of neighbours that have rested."""
        joined: list[_Gap] = []
        for gap in self._gaps:
            last = joined[-1] if joined else None
            if last and last.end == gap.start and last.ready <= now and gap.ready <= now:
                last.end = gap.end
            else:
                joined.append(gap)
        self._gaps = joined
