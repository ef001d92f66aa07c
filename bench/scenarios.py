"""What is measured, as data: the ways to a server, the operations, and the bars that their ratios are to meet.

The addresses are those of lab.yaml. Every server answers the same bytes; only the way to it differs.
"""

from dataclasses import dataclass
from typing import Literal

IN_CGROUP_PORT, OUTSIDE_PORT = 9000, 9001
WAYPOINT = "weft-system/weft-waypoint"


@dataclass(frozen=True, slots=True)
class Way:
    """How a client reaches its server.

    `in_cgroup`: whether the client's process is in its pod's cgroup. Outside of it no program of weft runs, and the
    packets take the same links. `proxy`: the pod of the proxy between both, if its CPU is counted. `twin`: the address
    of a second instance for the control; without one, the control is the same way. `spread`: client, proxies and server
    are on the processors that the scheduler chooses, as what a proxy costs is also to be woken there; without it,
    client and server share one.
    """

    client: str
    address: str
    port: int = IN_CGROUP_PORT
    in_cgroup: bool = True
    proxy: str = ""
    twin: str = ""
    spread: bool = False


# Processes outside of pods' cgroups are at another port, so that server and client are in the same place.
WAYS = {
    "direct": Way("outside/client", "10.244.9.2", OUTSIDE_PORT, in_cgroup=False),
    "kube-proxy": Way("outside/client", "10.96.0.101", OUTSIDE_PORT, in_cgroup=False),
    "not enrolled": Way("outside/client", "10.244.9.2"),
    "weft L4": Way("mesh/client", "10.96.0.102"),
    "weft L4, policy": Way("mesh/client", "10.96.0.103"),
    "weft L7": Way("app/client", "10.96.0.104", 80, proxy=WAYPOINT, spread=True),
    "plain Envoy": Way("app/client", "10.244.9.8", 80, proxy="outside/plain", twin="10.244.9.9", spread=True),
    "weft L7, gRPC": Way("app/client", "10.96.0.104", 81, proxy=WAYPOINT, spread=True),
    "plain Envoy, gRPC": Way("app/client", "10.244.9.8", 81, proxy="outside/plain", twin="10.244.9.9", spread=True),
    "two hops in one Envoy": Way("app/client", "10.244.9.10", 80, proxy="outside/two-hops", spread=True),
    "two sidecars": Way("outside/sidecar-client", "10.244.9.13", 8080, spread=True),
    "node proxy": Way("outside/client", "10.244.9.11", OUTSIDE_PORT, in_cgroup=False, proxy="outside/node-proxy"),
}
# The processes that answer: pod, port, whether in the pod's cgroup.
SERVERS = (
    ("outside/server", OUTSIDE_PORT, False),
    ("outside/server", IN_CGROUP_PORT, True),
    ("mesh/server", IN_CGROUP_PORT, True),
    ("mesh/protected", IN_CGROUP_PORT, True),
)
# Envoys: pod, and configuration in envoys/. Two of the plain one, as the control.
ENVOYS = (
    ("app/server", "server"),
    ("outside/plain", "plain"),
    ("outside/plain-2", "plain"),
    ("outside/two-hops", "two_hops"),
    ("outside/node-proxy", "node_proxy"),
    ("outside/sidecar-client", "sidecar_client"),
    ("outside/sidecar-server", "sidecar_server"),
    ("outside/sidecar-server", "server"),
)
# The classic redirection of a pod's connections to its sidecar.
REDIRECTIONS = {
    "outside/sidecar-client": "type nat hook output priority -100; meta mark != 7 tcp dport 8080 redirect to :15001;",
    "outside/sidecar-server": "type nat hook prerouting priority -100; tcp dport 8080 redirect to :15006;",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """The bound of a paired ratio. Of the measure `rate` more is better: the bound is the least; else the most."""

    name: str
    subject: str
    reference: str
    measure: str
    bound: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One operation on several ways, in turns. `work`, the sizes (bytes) and `rate` are as in load/client.c; `count`:
    how many in a way's turn. With `connections` more than one, and for the work `grpc`, h2load asks on all of them at
    once instead, and has no rate.
    """

    name: str
    work: str
    count: int
    ways: tuple[str, ...]
    bars: tuple[Bar, ...]
    request: int = 64
    response: int = 64
    connections: int = 1
    rate: int = 0
    agent: Literal["running", "killed", "restarting"] = "running"

    @property
    def references(self) -> tuple[str, ...]:
        """The ways that others are compared with. Each is measured twice in a round: the control."""
        return tuple(dict.fromkeys(bar.reference for bar in self.bars))


def _on_many(connections: int) -> Scenario:
    title = f"HTTP keep-alive, {connections} connections"
    bars = (
        Bar(f"L7, {title} p50 / one plain Envoy hop", "weft L7", "plain Envoy", "p50", 1.03),
        Bar(f"L7, {title} p99 / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),
    )
    return Scenario(title, "http", 3200, ("plain Envoy", "weft L7"), bars, connections=connections)


def _at_rate(rate: int) -> Scenario:
    title = f"HTTP keep-alive, {rate} requests a second"
    bars = (
        Bar(f"L7, {title} p50 / one plain Envoy hop", "weft L7", "plain Envoy", "p50", 1.03),
        Bar(f"L7, {title} p99 / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),
    )
    return Scenario(title, "http", rate, ("plain Envoy", "weft L7"), bars, rate=rate)


L4 = ("direct", "not enrolled", "weft L4", "weft L4, policy", "kube-proxy")
TCP = (*L4, "node proxy")
L7 = ("plain Envoy", "weft L7", "two hops in one Envoy", "two sidecars")
DATAPATH = (
    Scenario(
        "TCP connect",
        "connect",
        400,
        TCP,
        (Bar("not enrolled, connect p50 / direct", "not enrolled", "direct", "p50", 1.03),),
    ),
    Scenario(
        "TCP connect, request and response",
        "connect-exchange",
        400,
        TCP,
        (
            Bar("not enrolled, connect + request + response p50 / direct", "not enrolled", "direct", "p50", 1.03),
            Bar("L4, connect + request + response p50, flow metrics on / direct", "weft L4", "direct", "p50", 1.12),
            Bar("L4, connect + request + response p50 / kube-proxy nftables", "weft L4", "kube-proxy", "p50", 0.97),
            Bar(
                "L4, connect + request + response p50, protected / unprotected",
                "weft L4, policy",
                "weft L4",
                "p50",
                1.05,
            ),
        ),
    ),
    Scenario(
        "request and response on an open connection",
        "exchange",
        2000,
        TCP,
        (
            Bar("not enrolled, established request rate / direct", "not enrolled", "direct", "rate", 0.99),
            Bar("L4, established request rate / direct", "weft L4", "direct", "rate", 0.99),
        ),
    ),
    Scenario(
        "1 MiB sent on an open connection",
        "exchange",
        100,
        TCP,
        (Bar("L4, bulk throughput / direct", "weft L4", "direct", "rate", 0.99),),
        request=2**20,
        response=8,
    ),
    Scenario(
        "UDP, unconnected",
        "udp-unconnected",
        1000,
        L4,
        (Bar("L4, unconnected UDP p50 / direct", "weft L4", "direct", "p50", 1.10),),
    ),
    Scenario(
        "UDP, connected",
        "udp-connected",
        1000,
        L4,
        (Bar("L4, connected UDP p50 / direct", "weft L4", "direct", "p50", 1.10),),
    ),
)
HTTP = (
    Scenario(
        "HTTP keep-alive",
        "http",
        600,
        L7,
        (
            Bar("L7, HTTP keep-alive p50 / one plain Envoy hop", "weft L7", "plain Envoy", "p50", 1.03),
            Bar("L7, HTTP keep-alive p99 / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),
            Bar("L7, HTTP keep-alive p50 / two sidecars", "weft L7", "two sidecars", "p50", 0.45),
            Bar("L7, CPU of the machine for a request / two sidecars", "weft L7", "two sidecars", "CPU", 0.45),
            Bar("L7, HTTP keep-alive p50 / two hops in one Envoy", "weft L7", "two hops in one Envoy", "p50", 0.65),
            Bar(
                "L7, CPU of the machine for a request / two hops in one Envoy",
                *("weft L7", "two hops in one Envoy", "CPU", 0.65),
            ),
        ),
    ),
    Scenario(
        "HTTP, a connection for each request",
        "http-connect",
        300,
        ("plain Envoy", "weft L7"),
        (Bar("L7, HTTP on a new connection p50 / one plain Envoy hop", "weft L7", "plain Envoy", "p50", 1.03),),
    ),
    Scenario(
        "gRPC, unary",
        "grpc",
        600,
        ("plain Envoy, gRPC", "weft L7, gRPC"),
        (Bar("L7, gRPC p50 / one plain Envoy hop", "weft L7, gRPC", "plain Envoy, gRPC", "p50", 1.03),),
    ),
    _on_many(32),
    Scenario(
        "HTTP keep-alive, agent killed",
        "http",
        600,
        ("plain Envoy", "weft L7"),
        (Bar("L7, HTTP keep-alive p99, agent killed / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),),
        agent="killed",
    ),
)
MANY = _on_many(256)
AT_RATE = (_at_rate(500), _at_rate(2000))
RESTARTING = Scenario(
    "HTTP keep-alive, agent restarting",
    "http",
    600,
    ("plain Envoy", "weft L7"),
    (Bar("L7, HTTP keep-alive p99, agent restarting / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),),
    agent="restarting",
)


@dataclass(frozen=True, slots=True)
class Suite:
    """What one command runs."""

    services: int
    rounds: int
    scenarios: tuple[Scenario, ...]


SUITES = {
    "quick": Suite(services=10_000, rounds=24, scenarios=(*DATAPATH, *HTTP)),
    "full": Suite(services=10_000, rounds=120, scenarios=(*DATAPATH, *HTTP, MANY, *AT_RATE, RESTARTING)),
}
