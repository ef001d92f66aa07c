"""What the waypoint tells of a request: the value between what reads Envoy's log and what counts and writes it."""

from dataclasses import dataclass

NO_MATCH = "no-match"
"""Envoy's name for the route of requests that no rule matches; see also `agent.ir.http.Rule.name`."""

UNROUTED = "unrouted"
"""The rule of a port that no Route speaks of, and that goes through the waypoint to be observed."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, complete or not.

    `client` and `port` are its connection's two ends: the client's address, and the port of the waypoint's listener.
    `route` is a `Rule.name`, `cluster` a `BackendPort.cluster` (or a `Pool`'s, with the `members` that its endpoint
    belongs to), `upstream` the endpoint as `address:port`; each is empty where there was none. `code` is 0 where
    nothing was answered, `grpc_status` empty where it is no gRPC. `flags` are Envoy's response flags, `-` for none.
    Sizes are bytes of headers and body; times are seconds, `start` since 1970.
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
