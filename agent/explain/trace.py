"""Request traces: what the waypoint is expected to do with a request, and what it did with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from agent.explain.compare import differences
from agent.explain.evaluate import Document, evaluate
from agent.explain.query import TrafficQuery
from agent.ir.access_log import Exchange
from agent.ir.plan import Fragment
from agent.telemetry.http import BadRequestError, Query, Response

# At most so many requests are awaited at once; the oldest is dropped for a further one.
KEPT = 64


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """A request to a frontend (`FrontendName` as text).

    `request_id` is the `x-request-id` that the agent waits for from now on; it is empty when no request is sent.
    """

    frontend: str
    query: TrafficQuery
    request_id: str = ""

    def path(self) -> str:
        """What to ask the agent for."""
        return f"/request?asked={quote(msgspec.json.encode(self))}"


class RequestTracer:
    """Answers by the plan as it is now."""

    def __init__(self, fragments: Callable[[], Iterable[Fragment]]) -> None:
        self._fragments = fragments
        self._awaited: dict[str, Exchange | None] = {}

    def take(self, served: Iterable[Exchange]) -> None:
        """Take requests that the waypoint logged. Clients can send any `x-request-id`: the first with it counts."""
        for item in served:
            if item.request_id in self._awaited and self._awaited[item.request_id] is None:
                self._awaited[item.request_id] = item

    def answer(self, query: Query) -> Response:
        """`waypoint` is null where no listener serves the frontend, `observed` until the request is logged."""
        try:
            asked = msgspec.json.decode(query.get("asked", ""), type=TraceRequest)
        except msgspec.DecodeError as error:
            raise BadRequestError(f"asked: {error}") from error
        found = self._evaluate(asked)
        seen = self._observe(asked.request_id) if asked.request_id else None
        return Response.json({"waypoint": found, "observed": observed(found, seen) if found and seen else None})

    def _observe(self, request_id: str) -> Exchange | None:
        found = self._awaited.setdefault(request_id, None)
        for oldest in list(self._awaited)[:-KEPT]:
            del self._awaited[oldest]
        return found

    def _evaluate(self, asked: TraceRequest) -> Document | None:
        for fragment in self._fragments():
            for name, plan in fragment.frontends.items():
                if str(name) == asked.frontend and plan.listener is not None:
                    return evaluate(fragment.route_sets[plan.listener], fragment.endpoints, asked.query)
        return None


def observed(predicted: Document, seen: Exchange) -> Document:
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
