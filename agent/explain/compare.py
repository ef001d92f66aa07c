"""Compares a predicted answer with the access log entry of the request."""

from collections.abc import Iterator

from agent.explain.evaluate import Document
from agent.ir.access_log import NO_MATCH, Exchange

# Envoy's response code details where a backend answered, not Envoy itself.
ANSWERED = "via_upstream"
# What the waypoint's own answers to gRPC calls say in `grpc-status`, by their status in HTTP.
GRPC_STATUSES = {"12": 404, "14": 503}


def differences(predicted: Document, seen: Exchange) -> list[str]:
    """The differences, one sentence each; `predicted` is an answer of `evaluate` to an HTTP request."""
    return [*_of_rules(predicted, seen), *_of_answers(predicted, seen)]


def _of_rules(predicted: Document, seen: Exchange) -> Iterator[str]:
    wanted = predicted["rule"]["name"] if predicted["rule"] else NO_MATCH
    if (seen.route or NO_MATCH) != wanted:
        yield f"rule {seen.route or NO_MATCH} decided, not {wanted}"


def _of_answers(predicted: Document, seen: Exchange) -> Iterator[str]:
    """A backend's answer can be any; the waypoint's own has a status that is known beforehand."""
    ways = predicted["shares"] or [{"status": predicted["status"], "endpoints": []}]
    endpoints = sorted({item for way in ways if not way["status"] for item in way["endpoints"]})
    statuses = sorted({way["status"] for way in ways if way["status"]})
    expected = " or ".join([*endpoints, *(f"the waypoint with {status}" for status in statuses)])
    if seen.details == ANSWERED and seen.upstream not in endpoints:
        yield f"{seen.upstream} answered, not {expected}"
    if seen.details != ANSWERED and status_of(seen) not in statuses:
        yield f"the waypoint answered with {status_of(seen)} ({seen.details}), not {expected}"


def status_of(seen: Exchange) -> int:
    """The status, as it would be in HTTP where the waypoint told a gRPC client."""
    own = seen.is_grpc and seen.details != ANSWERED
    return GRPC_STATUSES.get(seen.grpc_status, seen.code) if own else seen.code
