"""Access log entries: the value between the reader of Envoy's log, and the metrics and log made of it."""

from dataclasses import dataclass

NO_MATCH = "no-match"
"""Envoy's name for the route of requests that no rule matches; see also `agent.ir.http.Rule.name`."""

UNROUTED = "unrouted"
"""The rule of a port without Routes that the waypoint observes."""

EXPLAIN = "weft-explain-"
"""The start of an `x-request-id` whose request the waypoint reports, whether its namespace has an access log or not."""


@dataclass(frozen=True, slots=True)
class AccessLogEntry:
    """One request and its response, complete or not.

    - `client`, `port`: the client's address, and the port of the waypoint's listener.
    - `route`: a `Rule.name`; empty where none matched.
    - `cluster`: a `BackendPort.cluster`, or a `Pool.cluster` with the `members` that its endpoint belongs to; empty
      where none was chosen.
    - `audit`: what audited policies would decide, `allowed` or `refused`, and these policies; None without any.
    - `upstream`: the endpoint as `address:port`; empty where none was chosen.
    - `code`: 0 where there was no response. `grpc_status`: empty where it is not gRPC.
    - `flags`: Envoy's response flags, `-` for none.
    - `received`, `sent`: bytes of headers and body. Times are seconds, `start` since 1970.
    """

    start: float
    client: str
    port: int
    route: str = ""
    cluster: str = ""
    members: tuple[str, ...] = ()
    upstream: str = ""
    protocol: str = ""
    method: str = ""
    authority: str = ""
    path: str = ""
    user_agent: str = ""
    request_id: str = ""
    traceparent: str = ""
    is_grpc: bool = False
    code: int = 0
    grpc_status: str = ""
    flags: str = "-"
    details: str = ""
    attempts: int = 0
    received: int = 0
    sent: int = 0
    seconds: float = 0.0
    upstream_seconds: float = 0.0
    audit: tuple[str, str] | None = None
