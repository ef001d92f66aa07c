"""The most recent events of the kernel, for any number of readers."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from errno import EACCES, EHOSTUNREACH, errorcode
from typing import Any, NamedTuple

from agent.ir.authorization import policy_index
from agent.ir.flow_tables import Event
from agent.ir.tables import UNSPECIFIED, Protocol, Reason, address_text, host_port
from agent.model.meta import Key
from agent.telemetry.audit_log import AuditLog
from agent.telemetry.http import BadRequestError, Query, Response
from agent.telemetry.metrics import VERDICTS
from agent.telemetry.name_index import NameIndex

BUFFERED_EVENTS = 4096
FAILED = "failed"  # the verdict of connections that the kernel forwarded and that failed
AUDIT = "audit"  # that of connections that audited policies would refuse
# The reason of those that failed by a prohibit route, and their errors.
NO_TUNNEL, UNREACHABLE = "no_tunnel", frozenset({EACCES, EHOSTUNREACH})


class Causes(NamedTuple):
    """What can be behind a refusal or failure: policies, which it can name; and whether the node refuses packets to an
    address, as encryption has no tunnel there. `audited`: the policies of a dry run at an address of a pod.
    """

    policies: Callable[[], Iterable[Key]]
    lacks_tunnel: Callable[[str], bool] = lambda _: False
    audited: Callable[[bytes], str | None] = lambda _: None


class EventBuffer:
    """Events with names, numbered from 1. A reader requests the events after the last number that it has seen. A slow
    reader costs nothing; the answer says how many events it has missed.
    """

    def __init__(
        self,
        names: NameIndex,
        causes: Causes,
        lost: Callable[[], int],
        clock: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        """`lost` returns the number of events that the kernel has dropped since its maps were created.

        `clock` is the kernel's CLOCK_MONOTONIC in ns; `now` is the wall clock in seconds since 1970.
        """
        self._names = names
        self._causes = causes
        self._policies: dict[int, str] = {}
        self._lost = lost
        self._clock = clock
        self._now = now
        self._audit_log = AuditLog(now)
        self._number = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=BUFFERED_EVENTS)

    def add(self, events: Iterable[Event]) -> None:
        """Add events, in the kernel's order."""
        ahead = self._now() - self._clock() / 1e9
        batch = list(events)
        if any(self._names.pod(event.cgroup_id) is None for event in batch):
            self._names.refresh()
        for event in batch:
            self._number += 1
            document = self._document(event, ahead + event.time / 1e9)
            self._events.append({"number": self._number, **document})
            if event.reason is Reason.AUDIT_REFUSED:
                self._audit_log.record(document)

    def after(self, number: int | None) -> dict[str, Any]:
        """Events after this number, how many of them were already overwritten, and the number for the next request.

        None requests only the current number. A number from before the agent's restart requests all events. `lost` is
        the kernel's count of events that it dropped.
        """
        seen = self._number if number is None else number if number <= self._number else 0
        found = [event for event in self._events if event["number"] > seen]
        missed = self._number - seen - len(found)
        return {"next": self._number, "missed": missed, "lost": self._lost(), "events": found}

    def _document(self, event: Event, seconds: float) -> dict[str, Any]:
        audit = event.reason is Reason.AUDIT_REFUSED
        # Of an audited connection the server's end is known, not who made it.
        source = address_text(event.backend) if audit else None
        pod = self._names.pod_at(source) if source else self._names.pod(event.cgroup_id)
        named = self._policy(event.policy) if event.policy else None
        policy = self._causes.audited(event.original) if audit else named
        service = self._names.service(event.service_id)
        return {
            "time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds"),
            "verdict": AUDIT if audit else VERDICTS.get(event.reason, FAILED),
            "reason": NO_TUNNEL if self._is_without_tunnel(event) else event.reason.name.lower(),
            "policy": policy,
            "errno": errorcode.get(event.error),
            "namespace": pod.namespace if pod else None,
            "pod": pod.pod.name if pod else None,
            "source": source,
            "workload": pod.workload.name if pod else None,
            "service": f"{service.namespace}/{service.name}" if service else None,
            "protocol": Protocol(event.protocol).name,
            "destination": host_port(address_text(event.original), event.original_port),
            "backend": None if audit else _backend(event),
        }

    def _is_without_tunnel(self, event: Event) -> bool:
        if VERDICTS.get(event.reason, FAILED) != FAILED or event.error not in UNREACHABLE:
            return False
        return event.backend != UNSPECIFIED and self._causes.lacks_tunnel(address_text(event.backend))

    def _policy(self, index: int) -> str:
        """The name of a policy; the names of all that have this index; the index where none is known."""
        if index not in self._policies:
            found: dict[int, set[Key]] = {}
            for key in self._causes.policies():
                found.setdefault(policy_index(key), set()).add(key)
            self._policies = {number: ", ".join(map(str, sorted(keys))) for number, keys in found.items()}
        return self._policies.get(index, f"{index:06x}")


def _backend(event: Event) -> str | None:
    return None if event.backend == UNSPECIFIED else host_port(address_text(event.backend), event.backend_port)


def answer(buffer: EventBuffer, query: Query) -> Response:
    """The answer to `GET /events?after=N`. Raises `BadRequestError` when N is not a number."""
    after = query.get("after")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 20):
        raise BadRequestError("after: not a number")
    return Response.json(buffer.after(None if after is None else int(after)))
