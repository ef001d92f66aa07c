"""The agent's log of connections that audited policies would refuse."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
MOST = 1024
"""How many clients and destinations are remembered. All are counted in `weft_authz_total`."""


class AuditLog:
    """Writes a line for each policy, client and destination, and again after a while."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the wall clock in seconds."""
        self._now = now
        self._written: dict[tuple[object, ...], float] = {}

    def record(self, event: Mapping[str, Any]) -> None:
        """Take an event, as `EventBuffer` has it."""
        key, now = tuple(event[name] for name in ("policy", "source", "destination", "protocol")), self._now()
        if now - self._written.get(key, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        self._written.pop(key, None)
        if len(self._written) >= MOST:
            del self._written[next(iter(self._written))]
        self._written[key] = now
        pod = f"{event['namespace']}/{event['pod']}" if event["pod"] else None
        shown = {name: event[name] for name in ("policy", "source", "destination", "protocol")}
        log.info("audited policies would refuse a connection", extra={**shown, "pod": pod})
