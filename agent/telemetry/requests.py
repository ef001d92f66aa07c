"""Requests at the waypoint as Prometheus metrics, with the names and labels that Istio has, and three of our own.

`istio_requests_total` says how each request ended; the histograms of times and sizes are for all of them together. Own
labels are `route` (`namespace/name`), `rule` (its name, or its place in the Route), and `backend`
(`namespace/service:port`); each is `none` where there was none.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.ir.access_log import NO_MATCH, UNROUTED, Exchange
from agent.ir.identity import Workload
from agent.ir.plan import PodPlan
from agent.model.meta import Key
from agent.telemetry.flows import OVERFLOW_SERVICE, OVERFLOW_WORKLOAD
from agent.telemetry.istio import UNKNOWN, pair_labels

MAX_EDGES = 200  # some 30 kB each, with every scrape
MAX_OUTCOMES = 32  # of each
LINGER_SECONDS = 600.0
NONE, OVERFLOW_LABEL = "none", "other"
UNKNOWN_WORKLOAD = Workload(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
MILLISECONDS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)
BYTES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


class Edge(NamedTuple):
    """Who asks whom, by which rule, and who answers."""

    client: Workload
    service: Key
    route: str
    rule: str
    backend: str
    protocol: str


class Outcome(NamedTuple):
    """How a request ended."""

    code: str
    grpc_status: str
    flags: str


_OVERFLOW = Edge(OVERFLOW_WORKLOAD, OVERFLOW_SERVICE, OVERFLOW_LABEL, OVERFLOW_LABEL, OVERFLOW_LABEL, "http")
_OVERFLOW_OUTCOME = Outcome(OVERFLOW_LABEL, OVERFLOW_LABEL, OVERFLOW_LABEL)


class Histogram:
    """Counts by step, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def copy(self) -> "Histogram":
        """The same, that does not change with this one."""
        made = Histogram(self._bounds)
        made._counts, made._sum = list(self._counts), self._sum
        return made

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """Counts up to each bound, as Prometheus wants them, and the sum."""
        names = [*(f"{float(bound)}" for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum


@dataclass(slots=True)
class _Sums:
    """What came of the requests of one edge."""

    last: float = 0.0
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    milliseconds: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))
    received: Histogram = field(default_factory=lambda: Histogram(BYTES))
    sent: Histogram = field(default_factory=lambda: Histogram(BYTES))

    def copy(self) -> "_Sums":
        histograms = self.milliseconds.copy(), self.received.copy(), self.sent.copy()
        return _Sums(self.last, dict(self.outcomes), *histograms)

    def add(self, item: Exchange, now: float) -> None:
        self.last = now
        status = item.grpc_status if len(item.grpc_status) <= 2 else OVERFLOW_LABEL
        outcome = Outcome(str(item.code), status, item.flags)
        if outcome not in self.outcomes and len(self.outcomes) >= MAX_OUTCOMES:
            outcome = _OVERFLOW_OUTCOME
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.milliseconds.add(item.seconds * 1000)
        self.received.add(item.received)
        self.sent.add(item.sent)


class Requests(Collector):
    """Counts what the waypoint tells.

    Edges are counted by their own names while there is room, first come, first served; the others are `other`. One that
    nobody used for ten minutes makes room when somebody has looked.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._edges: dict[Edge, _Sums] = {}
        self._left_out: set[Edge] = set()

    def add(self, item: Exchange, client: PodPlan | None, service: Key | None) -> None:
        """One request, with its client and the Service that the client dialled, as far as they are known."""
        edge = edge_of(item, client.workload if client else UNKNOWN_WORKLOAD, service or OVERFLOW_SERVICE)
        self._sums(edge).add(item, self._clock())

    def _sums(self, edge: Edge) -> _Sums:
        found = self._edges.get(edge)
        if found is None and len(self._edges) >= MAX_EDGES and edge != _OVERFLOW:
            if len(self._left_out) < MAX_EDGES:
                self._left_out.add(edge)
            return self._sums(_OVERFLOW)
        return found or self._edges.setdefault(edge, _Sums())

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield from self.snapshot()()

    def snapshot(self) -> Callable[[], Iterator[Metric]]:
        """What was counted up to now; the families are then made of it, in whatever thread."""
        edges, left_out = {edge: sums.copy() for edge, sums in self._edges.items()}, len(self._left_out)
        self._forget()
        return lambda: _families(edges, left_out)

    def _forget(self) -> None:
        since = self._clock() - LINGER_SECONDS
        self._edges = {edge: sums for edge, sums in self._edges.items() if sums.last > since or edge == _OVERFLOW}
        self._left_out.clear()


def _families(edges: Mapping[Edge, _Sums], left_out: int) -> Iterator[Metric]:
    yield _requests(edges)
    for name, text, told in _HISTOGRAMS:
        family = HistogramMetricFamily(f"istio_{name}", text, labels=_LABELS)
        for edge, sums in edges.items():
            family.add_metric(list(_labels(edge).values()), *told(sums).told())
        yield family
    gauge = GaugeMetricFamily("weft_request_edges_left_out", "Edges counted as `other` since the last look.")
    gauge.add_metric([], left_out)
    yield gauge


_HISTOGRAMS: tuple[tuple[str, str, Callable[[_Sums], Histogram]], ...] = (
    ("request_duration_milliseconds", "From a request's first byte to its answer's last.", lambda s: s.milliseconds),
    ("request_bytes", "Sizes of requests, headers and body.", lambda s: s.received),
    ("response_bytes", "Sizes of answers, headers and body.", lambda s: s.sent),
)


def edge_of(item: Exchange, client: Workload, service: Key) -> Edge:
    """Where a request is counted."""
    route, rule = rule_of(item.route)
    return Edge(client, service, route, rule, backend_of(item), "grpc" if item.is_grpc else "http")


def rule_of(name: str) -> tuple[str, str]:
    """The Route, and the rule in it, of a `Rule.name`; of what is no Route's, `none` and why."""
    namespace, _, rest = name.partition("/")
    route, _, rule = rest.partition("/")
    if not rule:
        return NONE, name if name in (NO_MATCH, UNROUTED) else NONE
    return f"{namespace}/{route}", rule.rpartition("/")[0] or rule


def backend_of(item: Exchange) -> str:
    """The Service port that was to answer: of a pool, that of the endpoint which did."""
    cluster = item.members[0] if item.members else item.cluster
    return cluster.rpartition("/")[0] if item.upstream or ":" in cluster else NONE


def _labels(edge: Edge) -> Mapping[str, str]:
    answering = edge.backend.partition("/")[2].partition(":")[0] or edge.service.name
    return pair_labels((edge.client, edge.service)) | {
        "reporter": "waypoint",
        "destination_canonical_service": answering,
        "request_protocol": edge.protocol,
        "route": edge.route,
        "rule": edge.rule,
        "backend": edge.backend,
    }


_LABELS = (*_labels(_OVERFLOW),)


def _requests(edges: Mapping[Edge, _Sums]) -> Metric:
    labels = (*_LABELS, "response_code", "grpc_response_status", "response_flags")
    family = CounterMetricFamily("istio_requests", "Requests that came to an end.", labels=labels)
    for edge, sums in edges.items():
        for outcome, count in sums.outcomes.items():
            family.add_metric([*_labels(edge).values(), *outcome], count)
    return family
