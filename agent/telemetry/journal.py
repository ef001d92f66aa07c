"""The last decisions that the kernel told of, for any number of viewers."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from errno import errorcode
from typing import Any

from agent.ir.flow_tables import Event
from agent.ir.tables import UNSPECIFIED, Protocol, address_text, host_port
from agent.telemetry.http import BadRequestError, Query, Response
from agent.telemetry.metrics import VERDICTS
from agent.telemetry.names import Names

KEPT = 4096
FAILED = "failed"  # the verdict of what the kernel let through and nobody answered


class Journal:
    """Events with names on, numbered from 1. Viewers ask for what came after the last number they saw, so that a slow
    one costs nothing but what it misses, and is told of that."""

    def __init__(
        self, names: Names, lost: Callable[[], int], clock: Callable[[], int], now: Callable[[], float]
    ) -> None:
        """`lost` is how many events the kernel did not tell, since ever.

        `clock` is the kernel's, CLOCK_MONOTONIC in ns; `now` the wall clock's, seconds since 1970.
        """
        self._names = names
        self._lost = lost
        self._clock = clock
        self._now = now
        self._number = 0
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, events: Iterable[Event]) -> None:
        """Take events in, in the order of the kernel."""
        ahead = self._now() - self._clock() / 1e9
        told = list(events)
        if any(self._names.pod(event.cgroup_id) is None for event in told):
            self._names.refresh()
        for event in told:
            self._number += 1
            self._kept.append({"number": self._number, **self._document(event, ahead + event.time / 1e9)})

    def after(self, number: int | None) -> dict[str, Any]:
        """Events behind this number, how many of them are forgotten, and the number to ask with next.

        None asks for nothing but that number. One from before an agent's restart asks for everything. `lost` is the
        kernel's own count of what it did not tell.
        """
        seen = self._number if number is None else number if number <= self._number else 0
        found = [event for event in self._kept if event["number"] > seen]
        missed = self._number - seen - len(found)
        return {"next": self._number, "missed": missed, "lost": self._lost(), "events": found}

    def _document(self, event: Event, seconds: float) -> dict[str, Any]:
        pod = self._names.pod(event.cgroup_id)
        service = self._names.service(event.service_id)
        return {
            "time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds"),
            "verdict": VERDICTS.get(event.reason, FAILED),
            "reason": event.reason.name.lower(),
            "policy": event.policy or None,
            "errno": errorcode.get(event.error),
            "namespace": pod.namespace if pod else None,
            "pod": pod.pod.name if pod else None,
            "workload": pod.workload.name if pod else None,
            "service": f"{service.namespace}/{service.name}" if service else None,
            "protocol": Protocol(event.protocol).name,
            "destination": host_port(address_text(event.original), event.original_port),
            "backend": _backend(event),
        }


def _backend(event: Event) -> str | None:
    return None if event.backend == UNSPECIFIED else host_port(address_text(event.backend), event.backend_port)


def answer(journal: Journal, query: Query) -> Response:
    """What `GET /events?after=N` says. Raises `BadRequestError` when N is no number."""
    after = query.get("after")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 20):
        raise BadRequestError("after: not a number")
    return Response.json(journal.after(None if after is None else int(after)))
