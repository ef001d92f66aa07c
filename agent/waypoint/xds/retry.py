"""What is tried again, and how long one try may take."""

from typing import Any

from agent.ir.http import Retry, Rule
from agent.ir.resources import Json

# What never reached a server: trying again does nothing twice.
UNREACHED = ("connect-failure", "refused-stream")
# One endpoint after another, instead of one that does not answer again: a node that died has many.
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
# Where the Route says nothing of retries, which then concern nobody but the network.
UNASKED = 2


def retry_policy(rule: Rule) -> Json:
    """The retries that a rule asks for; without, only what never reached a server is tried again.

    The request's timeout, which is the route's, bounds all tries together (GEP-1742).
    """
    per_try = {"per_try_timeout": duration(rule.backend_timeout)} if rule.backend_timeout is not None else {}
    if rule.retry is None:
        return {"retry_on": ",".join(UNREACHED), "num_retries": UNASKED, **ELSEWHERE, **per_try}
    return {**_asked(rule.retry, bool(per_try)), **per_try}


def _asked(retry: Retry, has_timeout: bool) -> Json:
    """A rule's own retries (GEP-1731).

    Who sets a timeout for one try wants another after it. Envoy cannot tell that from a connection that was reset
    after the request was sent, so that is tried again too: whoever retries timeouts accepts that a request may be
    processed twice.
    """
    conditions = [*UNREACHED, *(["reset"] if has_timeout else []), *(["retriable-status-codes"] if retry.codes else [])]
    found: dict[str, Any] = {"retry_on": ",".join(conditions), "num_retries": retry.attempts, **ELSEWHERE}
    if retry.codes:
        found["retriable_status_codes"] = list(retry.codes)
    if retry.backoff is not None:
        # Envoy takes no base of 0; shorter than this it does not wait.
        found["retry_back_off"] = {"base_interval": duration(max(retry.backoff, 1))}
    return found


def duration(milliseconds: int) -> str:
    """A protobuf Duration."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}s"
