"""Turns of a task that works for long on the event loop: between them others have theirs."""

import asyncio
from collections.abc import Callable

# New pods above all wait for their turn: they connect at any moment.
TURN_SECONDS = 0.01
PAUSE_SECONDS = 0.001


class Turn:
    """The turn of one task. `clock` is the event loop's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends = 0.0

    def begin(self) -> None:
        """Start a turn."""
        self._ends = self._clock() + TURN_SECONDS

    async def others(self) -> None:
        """Let others work when this turn is over, then start another."""
        if self._clock() >= self._ends:
            await asyncio.sleep(PAUSE_SECONDS)
            self.begin()
