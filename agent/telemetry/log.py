"""Logs: one line for each event, as `key=value`, on stderr."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.telemetry.escape import escape

# Of lines of one place in the code: as many at once, and as many a second. Any tenant's objects can cause lines.
MOST_AT_ONCE, PER_SECOND = 100, 10
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Level(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class KeyValueFormatter(logging.Formatter):
    """`time=… level=info msg="applied" writes=3`. The caller's `extra` values become fields."""

    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        fields |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


@dataclass(slots=True)
class _Allowance:
    """How many lines may come at once, as of a time in seconds, and how many were left out since the last one."""

    lines: float
    at: float
    left_out: int = 0


class LineLimit(logging.Filter):
    """A token bucket for each place in the code that logs. The first line after some that were left out says how many,
    as the field `left_out`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._allowances: dict[tuple[str, int], _Allowance] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        found = self._allowances.setdefault((record.pathname, record.lineno), _Allowance(MOST_AT_ONCE, now))
        found.lines = min(MOST_AT_ONCE, found.lines + (now - found.at) * PER_SECOND)
        found.at = now
        if found.lines < 1:
            found.left_out += 1
            return False
        found.lines -= 1
        if found.left_out:
            record.left_out, found.left_out = found.left_out, 0
        return True


def _quoted(value: object) -> str:
    """One plain word as it is, any other value quoted on one line, so that names in manifests cannot forge a field."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not set(' ="\\') & set(text)
    return text if plain else '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def setup(level: Level) -> None:
    """Log lines of at least this level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(LineLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
