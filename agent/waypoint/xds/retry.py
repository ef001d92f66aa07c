"""What is tried again, and how long one try may take."""

from typing import Any

from agent.ir.http import Retry, Rule
from agent.ir.resources import Json

# Requests that did not reach a server: a retry cannot repeat an effect.
UNREACHED = ("connect-failure", "refused-stream")
# Each attempt goes to another endpoint: a node that died has many.
ELSEWHERE: Json = {
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 10,
}
# The number of retries where the Route configures none.
DEFAULT_RETRIES = 2


def retry_policy(rule: Rule) -> Json:
    """The retries of a rule; without any, Envoy retries only requests that did not reach a server.

    The request's timeout, which is the route's, bounds all attempts together (GEP-1742).
    """
    per_try = {"per_try_timeout": duration(rule.backend_timeout)} if rule.backend_timeout is not None else {}
    if rule.retry is None:
        return {"retry_on": ",".join(UNREACHED), "num_retries": DEFAULT_RETRIES, **ELSEWHERE, **per_try}
    return {**_route_retries(rule.retry, bool(per_try)), **per_try}


def _route_retries(retry: Retry, has_timeout: bool) -> Json:
    """A rule's own retries (GEP-1731).

    A timeout for one attempt means that another attempt follows. Envoy cannot distinguish it from a connection that was
    reset after the request was sent, so it retries that too: with retries after timeouts a server may process a request
    twice.
    """
    conditions = [*UNREACHED, *(["reset"] if has_timeout else []), *(["retriable-status-codes"] if retry.codes else [])]
    found: dict[str, Any] = {"retry_on": ",".join(conditions), "num_retries": retry.attempts, **ELSEWHERE}
    if retry.codes:
        found["retriable_status_codes"] = list(retry.codes)
    if retry.backoff is not None:
        # Envoy refuses a base interval of 0, and has no shorter one than 1 ms.
        found["retry_back_off"] = {"base_interval": duration(max(retry.backoff, 1))}
    return found


def duration(milliseconds: int) -> str:
    """A protobuf Duration."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}s"
