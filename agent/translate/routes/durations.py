"""Durations as the Gateway API writes them (GEP-2257)."""

import re

_DURATION = re.compile(r"(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}")
_DURATION_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def milliseconds(duration: str) -> int | None:
    """A GEP-2257 duration in milliseconds, None when it is none."""
    if not _DURATION.fullmatch(duration):
        return None
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(duration))
