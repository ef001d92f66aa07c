"""How long to wait before asking again: longer each time, never the same for all, never less than was asked for."""

from collections.abc import Callable

FIRST_SECONDS = 0.5
MOST_SECONDS = 10.0


class Backoff:
    """Exponential with full jitter: agents of a thousand nodes that lost their server together do not return together.

    `chance` gives a number from 0 to below 1; `most` is the longest pause, in seconds.
    """

    def __init__(self, chance: Callable[[], float], most: float = MOST_SECONDS) -> None:
        self._chance = chance
        self._most = most
        self._failures = 0

    def failed(self, retry_after: float = 0.0) -> float:
        """Seconds to wait now; `retry_after` is the least that the server asked for."""
        reach: float = min(self._most, FIRST_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        return retry_after + reach * self._chance()

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._failures = 0
