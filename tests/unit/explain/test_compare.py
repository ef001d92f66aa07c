"""What the waypoint told of a request, held against what was predicted."""

from typing import Any

import pytest

from agent.explain.compare import differences
from agent.ir.access_log import AccessLogEntry

RULE = {"name": "app/r/0/0"}
BACKEND = {"status": None, "endpoints": ["10.0.0.1:80", "10.0.0.2:80"]}
INVALID: dict[str, Any] = {"status": 500, "endpoints": []}


def predicted(*shares: dict[str, Any], status: int | None = None, rule: Any = RULE) -> dict[str, Any]:
    return {"rule": rule, "status": status, "shares": list(shares)}


def seen(code: int, upstream: str = "", route: str = "app/r/0/0", **more: Any) -> AccessLogEntry:
    details = "via_upstream" if upstream else "direct_response"
    return AccessLogEntry(0.0, "10.0.0.9", 20000, route, upstream=upstream, **{"details": details, "code": code} | more)


@pytest.mark.parametrize(
    ("wanted", "logged"),
    [
        (predicted(BACKEND), seen(200, "10.0.0.2:80")),
        (predicted(BACKEND), seen(500, "10.0.0.1:80")),
        (predicted(BACKEND, INVALID), seen(500)),
        (predicted(BACKEND, INVALID), seen(204, "10.0.0.1:80")),
        (predicted(status=302), seen(302)),
        (predicted(status=404, rule=None), seen(404, route="no-match")),
        (predicted(status=404, rule=None), seen(404, route="")),
        (predicted(status=503), seen(200, is_grpc=True, grpc_status="14")),
        (predicted(status=404, rule=None), seen(200, route="no-match", is_grpc=True, grpc_status="12")),
    ],
)
def test_as_predicted(wanted: dict[str, Any], logged: AccessLogEntry) -> None:
    assert differences(wanted, logged) == []


@pytest.mark.parametrize(
    ("wanted", "logged", "difference"),
    [
        (predicted(BACKEND), seen(200, "10.0.0.2:80", "app/r/1/0"), "rule app/r/1/0 decided, not app/r/0/0"),
        (predicted(BACKEND), seen(200, "10.0.0.1:80", ""), "rule no-match decided, not app/r/0/0"),
        (predicted(BACKEND), seen(200, "10.0.0.3:80"), "10.0.0.3:80 answered, not 10.0.0.1:80 or 10.0.0.2:80"),
        (
            predicted(BACKEND, INVALID),
            seen(504, "10.0.0.1:80", details="response_timeout"),
            "the waypoint answered with 504 (response_timeout), "
            "not 10.0.0.1:80 or 10.0.0.2:80 or the waypoint with 500",
        ),
        (
            predicted(status=302),
            seen(301),
            "the waypoint answered with 301 (direct_response), not the waypoint with 302",
        ),
        (predicted(status=503), seen(503, "10.0.0.1:80"), "10.0.0.1:80 answered, not the waypoint with 503"),
        (
            predicted(status=503),
            seen(200, is_grpc=True, grpc_status="12"),
            "the waypoint answered with 404 (direct_response), not the waypoint with 503",
        ),
    ],
)
def test_otherwise(wanted: dict[str, Any], logged: AccessLogEntry, difference: str) -> None:
    assert differences(wanted, logged) == [difference]
