"""Request traces: what the waypoint is expected to do with a request, and what it did with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from agent.explain.compare import differences
from agent.explain.evaluate import Document, evaluate
from agent.explain.query import TrafficQuery
from agent.ir.access_log import AccessLogEntry
from agent.ir.identity import Identity
from agent.ir.plan import Output
from agent.telemetry.http import BadRequestError, Query, Response

# At most so many requests are awaited at once; for a further one the oldest is dropped.
MAX_AWAITED = 64


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """A request to a frontend (`FrontendName` as text).

    `request_id` is the `x-request-id` that the agent waits for from now on; it is empty when no request is sent.
    """

    frontend: str
    query: TrafficQuery
    request_id: str = ""

    def path(self) -> str:
        """The path on the agent's socket."""
        return f"/request?query={quote(msgspec.json.encode(self))}"


class RequestTracer:
    """Answers trace requests by the current plan."""

    def __init__(self, outputs: Callable[[], Iterable[Output]]) -> None:
        self._outputs = outputs
        self._awaited: dict[str, AccessLogEntry | None] = {}

    def take(self, entries: Iterable[AccessLogEntry]) -> None:
        """Take the waypoint's log entries. Clients can send any `x-request-id`: the first entry with it counts."""
        for item in entries:
            if item.request_id in self._awaited and self._awaited[item.request_id] is None:
                self._awaited[item.request_id] = item

    def answer(self, query: Query) -> Response:
        """`waypoint` is null where no listener serves the frontend, `observed` until the request is logged."""
        try:
            request = msgspec.json.decode(query.get("query", ""), type=TraceRequest)
        except msgspec.DecodeError as error:
            raise BadRequestError(f"query: {error}") from error
        found = self._evaluate(request)
        seen = self._observe(request.request_id) if request.request_id else None
        return Response.json({"waypoint": found, "observed": observed(found, seen) if found and seen else None})

    def _observe(self, request_id: str) -> AccessLogEntry | None:
        found = self._awaited.setdefault(request_id, None)
        for oldest in list(self._awaited)[:-MAX_AWAITED]:
            del self._awaited[oldest]
        return found

    def _evaluate(self, request: TraceRequest) -> Document | None:
        for output in self._outputs():
            for name, plan in output.frontends.items():
                if str(name) == request.frontend and plan.listener is not None:
                    return evaluate(output.listeners[plan.listener], output, self._client(request.query), request.query)
        return None

    def _client(self, query: TrafficQuery) -> Identity | None:
        """The identity that the waypoint knows a client by."""
        pods = (plan for output in self._outputs() for plan in output.pods.values() if plan.pod == query.pod)
        return next((plan.known_identity for plan in pods), None)


def observed(predicted: Document, seen: AccessLogEntry) -> Document:
    """The result of a request, and the differences from the prediction."""
    return {
        "client": seen.client,
        "rule": seen.route or None,
        "status": seen.code,
        "grpcStatus": seen.grpc_status or None,
        "endpoint": seen.upstream or None,
        "flags": seen.flags,
        "details": seen.details,
        "attempts": seen.attempts,
        "milliseconds": round(seen.seconds * 1000, 3),
        "differences": differences(predicted, seen),
    }
