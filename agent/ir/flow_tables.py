"""The kernel's telemetry of connections: `weft_flows`, sums, and `weft_events`, single decisions."""

from dataclasses import dataclass

from agent.ir.tables import Reason

FLOW_STEPS = 16


@dataclass(frozen=True, slots=True, order=True)
class FlowKey:
    """`weft_flows`: a client workload, a Service and how it was decided → `FlowSums`.

    `error` is 0, or the errno of connections that failed: they have a row of their own. `reason` is a `Reason` below
    FAILED. All zeros is the overflow row, for flows beyond the table's capacity. `policy` is the index of the policy
    that decided, below 2^24; 0: none, as everywhere until there are policies.
    """

    workload_id: int = 0
    service_id: int = 0
    reason: int = 0
    error: int = 0
    protocol: int = 0
    policy: int = 0


OVERFLOW_ROW = FlowKey()


@dataclass(frozen=True, slots=True)
class FlowSums:
    """Sums over a flow's connections since its row was made; bytes and round trips are added when they close.

    Step n of a histogram counts what took up to 64 µs times 2**n, the last one everything else.
    """

    opened: int = 0
    established: int = 0
    failed: int = 0
    closed: int = 0
    sent: int = 0
    received: int = 0
    connect_us: int = 0
    rtt_us: int = 0
    connect_steps: tuple[int, ...] = (0,) * FLOW_STEPS
    rtt_steps: tuple[int, ...] = (0,) * FLOW_STEPS


FLOW_NUMBERS = ("opened", "established", "failed", "closed", "sent", "received", "connect_us", "rtt_us")


@dataclass(frozen=True, slots=True)
class Event:
    """`weft_events`: one decision, or how a connection failed (`Reason.FAILED`, with its errno).

    `time` is CLOCK_MONOTONIC in ns. `cgroup_id` is 0 for a client that is no known pod, `service_id` 0 where no Service
    was meant; `backend` is unspecified where the destination was not rewritten. `policy` is as in `FlowKey`.
    """

    time: int
    cgroup_id: int
    service_id: int
    original: bytes
    original_port: int
    backend: bytes
    backend_port: int
    reason: Reason
    error: int
    protocol: int
    policy: int = 0
