"""Compares a predicted answer with the access log entry of the request."""

from collections.abc import Iterator

from agent.explain.evaluate import Document
from agent.ir.access_log import NO_MATCH, AccessLogEntry

# Envoy's response code details where a backend answered, not Envoy itself.
ANSWERED = "via_upstream"
# The `grpc-status` of the waypoint's own responses to gRPC calls, with the HTTP status that each stands for.
GRPC_STATUSES = {"7": 403, "12": 404, "14": 503}


def differences(predicted: Document, seen: AccessLogEntry) -> list[str]:
    """The differences, one sentence each; `predicted` is an answer of `evaluate` to an HTTP request."""
    return [*_of_rules(predicted, seen), *_of_answers(predicted, seen)]


def _of_rules(predicted: Document, seen: AccessLogEntry) -> Iterator[str]:
    wanted = predicted["rule"]["name"] if predicted["rule"] else NO_MATCH
    if (seen.route or NO_MATCH) != wanted:
        yield f"rule {seen.route or NO_MATCH} decided, not {wanted}"


def _of_answers(predicted: Document, seen: AccessLogEntry) -> Iterator[str]:
    """A backend's response can have any status; that of the waypoint's own response is predicted."""
    ways = predicted["shares"] or [{"status": predicted["status"], "endpoints": []}]
    endpoints = sorted({item for way in ways if not way["status"] for item in way["endpoints"]})
    statuses = sorted({way["status"] for way in ways if way["status"]})
    expected = " or ".join([*endpoints, *(f"the waypoint with {status}" for status in statuses)])
    if seen.details == ANSWERED and seen.upstream not in endpoints:
        yield f"{seen.upstream} answered, not {expected}"
    if seen.details != ANSWERED and status_of(seen) not in statuses:
        yield f"the waypoint answered with {status_of(seen)} ({seen.details}), not {expected}"


def status_of(seen: AccessLogEntry) -> int:
    """The HTTP status, also where the waypoint answered a gRPC client with `grpc-status`."""
    own = seen.is_grpc and seen.details != ANSWERED
    return GRPC_STATUSES.get(seen.grpc_status, seen.code) if own else seen.code
