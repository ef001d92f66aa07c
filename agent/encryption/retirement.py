"""Which generations of keys are in use."""

from collections.abc import Iterable

# A device that nobody has reported to send by for so long is removed. Reports of nodes that begin to are on their way
# for less.
RETIRE_SECONDS = 10.0


class InUse:
    """The generations by which some node sends, or did until a moment ago."""

    def __init__(self) -> None:
        self._at: dict[int, float] = {}

    def note(self, sending: Iterable[int], now: float) -> list[int]:
        """Record the generations that are in use now; returns those that were recently. `now` is in seconds."""
        self._at |= dict.fromkeys(sending, now)
        self._at = {generation: at for generation, at in self._at.items() if now < at + RETIRE_SECONDS}
        return sorted(self._at)
