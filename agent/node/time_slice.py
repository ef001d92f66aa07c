"""Time slices of a long task on the event loop: between two of them other tasks run."""

import asyncio
from collections.abc import Callable

# New pods above all must not wait: they can connect at any moment.
SLICE_SECONDS = 0.01
PAUSE_SECONDS = 0.001


class TimeSlice:
    """The time slice of one task. `clock` is the event loop's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends = 0.0

    def begin(self) -> None:
        """Start a time slice."""
        self._ends = self._clock() + SLICE_SECONDS

    async def yield_if_over(self) -> None:
        """When this slice is over, let other tasks run and start the next."""
        if self._clock() >= self._ends:
            await asyncio.sleep(PAUSE_SECONDS)
            self.begin()
