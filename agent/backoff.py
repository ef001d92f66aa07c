"""Delays between retries: exponential, with jitter, and never shorter than the server asks for."""

from collections.abc import Callable

FIRST_SECONDS = 0.5
MOST_SECONDS = 10.0


class Backoff:
    """Exponential back-off with full jitter: a thousand agents that lost the same server do not reconnect together.

    `chance` returns a random number in [0, 1); `most` is the longest delay, in seconds.
    """

    def __init__(self, chance: Callable[[], float], most: float = MOST_SECONDS) -> None:
        self._chance = chance
        self._most = most
        self._failures = 0

    def failed(self, retry_after: float = 0.0) -> float:
        """The delay after a failure, in seconds. `retry_after` is the minimum that the server asked for."""
        reach: float = min(self._most, FIRST_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        return retry_after + reach * self._chance()

    def succeeded(self) -> None:
        """Reset: the next failure counts as the first one."""
        self._failures = 0
