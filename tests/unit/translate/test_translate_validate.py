"""What of a rule cannot be done, with the reason and the field that its author is told."""

import pytest
from translate_fixtures import http_route

from agent.model.routes import HTTPRouteRetry, HTTPRouteRule
from agent.translate.routes.validate import check

UNSUPPORTED = "UnsupportedValue"


def fault(rule: HTTPRouteRule) -> tuple[str, str]:
    """Reason and field of the first fault of a rule, empty when there is none."""
    found = check(http_route(rule)).faults
    return (found[0][1].reason, found[0][1].field.removeprefix("spec.rules[0].")) if found else ("", "")


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (HTTPRouteRetry(), ("", "")),
        (HTTPRouteRetry((500,), 3, "1m30s"), ("", "")),
        (HTTPRouteRetry(attempts=2**32 - 1), ("", "")),
        (HTTPRouteRetry(attempts=2**32), (UNSUPPORTED, "retry.attempts")),
        (HTTPRouteRetry(backoff="1.5s"), (UNSUPPORTED, "retry.backoff")),
    ],
)
def test_retries(retry: HTTPRouteRetry, expected: tuple[str, str]) -> None:
    assert fault(HTTPRouteRule(retry=retry)) == expected
