"""What the agent answers about single requests: what the waypoint would do with one, and what it did with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from agent.explain.agreement import differences
from agent.explain.document import Document, treatment
from agent.explain.query import Question
from agent.ir.access_log import Exchange
from agent.ir.plan import Fragment
from agent.telemetry.http import BadRequestError, Query, Response

# So many requests are waited for at once; who asks for more has forgotten the first.
KEPT = 64


@dataclass(frozen=True, slots=True)
class Inquired:
    """A request that comes to a frontend (`FrontendName` as text). `mark` is the `x-request-id` by which it is waited
    for from now on, empty when it is not sent.
    """

    frontend: str
    question: Question
    mark: str = ""

    def path(self) -> str:
        """What to ask the agent for."""
        return f"/request?asked={quote(msgspec.json.encode(self))}"


class Inquiry:
    """Answers by the plan as it is now."""

    def __init__(self, fragments: Callable[[], Iterable[Fragment]]) -> None:
        self._fragments = fragments
        self._awaited: dict[str, Exchange | None] = {}

    def take(self, served: Iterable[Exchange]) -> None:
        """Requests that the waypoint tells of. Clients can write any `x-request-id`: the first to bear one counts."""
        for item in served:
            if item.request_id in self._awaited and self._awaited[item.request_id] is None:
                self._awaited[item.request_id] = item

    def answer(self, query: Query) -> Response:
        """`waypoint` is null where no listener serves the frontend, `happened` until the waypoint tells of it."""
        try:
            asked = msgspec.json.decode(query.get("asked", ""), type=Inquired)
        except msgspec.DecodeError as error:
            raise BadRequestError(f"asked: {error}") from error
        found = self._treatment(asked)
        seen = self._told(asked.mark) if asked.mark else None
        return Response.json({"waypoint": found, "happened": happened(found, seen) if found and seen else None})

    def _told(self, mark: str) -> Exchange | None:
        found = self._awaited.setdefault(mark, None)
        for oldest in list(self._awaited)[:-KEPT]:
            del self._awaited[oldest]
        return found

    def _treatment(self, asked: Inquired) -> Document | None:
        for fragment in self._fragments():
            for name, plan in fragment.frontends.items():
                if str(name) == asked.frontend and plan.listener is not None:
                    return treatment(fragment.route_sets[plan.listener], fragment.endpoints, asked.question)
        return None


def happened(predicted: Document, seen: Exchange) -> Document:
    """What became of a request, and in what it is not as predicted."""
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
