"""What is measured, as data: the ways to a server, the operations, and the bars that their ratios are to meet.

The addresses are those of lab.yaml. Every server answers the same bytes; only the way to it differs.
"""

from dataclasses import dataclass

IN_MESH, UNPROTECTED_BY_WEFT = 9000, 9001


@dataclass(frozen=True, slots=True)
class Way:
    """How a client reaches its server.

    `in_cgroup`: whether the client's process is in its pod's cgroup. Outside of it no program of weft runs, and the
    packets take the same links. `proxy`: the pod of the proxy between both, if there is one. `twin`: the address of a
    second instance for the control; without one, the control is the same way.
    """

    client: str
    address: str
    port: int = IN_MESH
    in_cgroup: bool = True
    proxy: str = ""
    twin: str = ""


# Processes outside of pods' cgroups are at another port, so that server and client are in the same place.
WAYS = {
    "direct": Way("outside/client", "10.244.9.2", UNPROTECTED_BY_WEFT, in_cgroup=False),
    "kube-proxy": Way("outside/client", "10.96.0.101", UNPROTECTED_BY_WEFT, in_cgroup=False),
    "not enrolled": Way("outside/client", "10.244.9.2"),
    "weft L4": Way("mesh/client", "10.96.0.102"),
    "weft L4, policy": Way("mesh/client", "10.96.0.103"),
    "weft L7": Way("app/client", "10.96.0.104", 80, proxy="weft-system/weft-waypoint"),
    "plain Envoy": Way("app/client", "10.244.9.8", 80, proxy="outside/plain", twin="10.244.9.9"),
}
# The processes that answer: pod, port, whether in the pod's cgroup.
SERVERS = (
    ("outside/server", UNPROTECTED_BY_WEFT, False),
    ("outside/server", IN_MESH, True),
    ("mesh/server", IN_MESH, True),
    ("mesh/protected", IN_MESH, True),
)
# Envoys: pod and configuration. Two of the plain one, as the control.
ENVOYS = {"app/server": "server.yaml", "outside/plain": "plain.yaml", "outside/plain-2": "plain.yaml"}


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
    """One operation on several ways, in turns. `work` and the sizes (bytes) are as in load/client.c; `count`: how
    many in a way's turn.
    """

    name: str
    work: str
    count: int
    ways: tuple[str, ...]
    bars: tuple[Bar, ...]
    request: int = 64
    response: int = 64
    agent_runs: bool = True

    @property
    def references(self) -> tuple[str, ...]:
        """The ways that others are compared with. Each is measured twice in a round: the control."""
        return tuple(dict.fromkeys(bar.reference for bar in self.bars))


L4 = ("direct", "not enrolled", "weft L4", "weft L4, policy", "kube-proxy")
L7 = ("plain Envoy", "weft L7")
DATAPATH = (
    Scenario(
        "TCP connect",
        "connect",
        400,
        L4,
        (Bar("not enrolled, connect p50 / direct", "not enrolled", "direct", "p50", 1.03),),
    ),
    Scenario(
        "TCP connect, request and response",
        "connect-exchange",
        400,
        L4,
        (
            Bar("not enrolled, connect + request + response p50 / direct", "not enrolled", "direct", "p50", 1.03),
            Bar("L4, connect + request + response p50, flow metrics on / direct", "weft L4", "direct", "p50", 1.12),
            Bar("the same / kube-proxy nftables", "weft L4", "kube-proxy", "p50", 0.97),
            Bar("the same to a protected pod / to an unprotected one", "weft L4, policy", "weft L4", "p50", 1.05),
        ),
    ),
    Scenario(
        "request and response on an open connection",
        "exchange",
        2000,
        L4,
        (
            Bar("not enrolled, established request rate / direct", "not enrolled", "direct", "rate", 0.99),
            Bar("L4, established request rate / direct", "weft L4", "direct", "rate", 0.99),
        ),
    ),
    Scenario(
        "1 MiB sent on an open connection",
        "exchange",
        100,
        L4,
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
        ),
    ),
    Scenario(
        "HTTP keep-alive, agent killed",
        "http",
        600,
        L7,
        (Bar("L7, HTTP keep-alive p99, agent killed / one plain Envoy hop", "weft L7", "plain Envoy", "p99", 1.2),),
        agent_runs=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Suite:
    """What one command runs."""

    services: int
    rounds: int
    scenarios: tuple[Scenario, ...]


SUITES = {
    "quick": Suite(services=10_000, rounds=24, scenarios=(*DATAPATH, *HTTP)),
    "full": Suite(services=10_000, rounds=120, scenarios=(*DATAPATH, *HTTP)),
}
