"""Logs: one line for each event, as `key=value`, on stderr."""

import logging
import sys
from enum import StrEnum

from agent.telemetry.escape import escape

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


def _quoted(value: object) -> str:
    """One plain word as it is, any other value quoted on one line, so that names in manifests cannot forge a field."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not set(' ="\\') & set(text)
    return text if plain else '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def setup(level: Level) -> None:
    """Log lines of at least this level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
