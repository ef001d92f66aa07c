"""Requests at the waypoint as Prometheus metrics, with Istio's names and labels, and three labels of weft.

`istio_requests_total` has the response code and flags; the histograms of times and sizes do not. Weft's labels are
`route` (`namespace/name`), `rule` (its name, or its position in the Route), and `backend` (`namespace/service:port`).
Each is `none` where there was none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.ir.access_log import NO_MATCH, UNROUTED
from agent.ir.identity import Workload
from agent.ir.request_stats import BOUNDS, OTHER, Histogram, Outcome, Series, Sums
from agent.model.meta import Key
from agent.telemetry.flows import OVERFLOW_SERVICE, OVERFLOW_WORKLOAD
from agent.telemetry.istio import UNKNOWN, pair_labels

MAX_EDGES = 200  # each costs about 30 kB with every scrape
MAX_OUTCOMES = 32  # of each edge
RETENTION_SECONDS = 600.0
NONE, OVERFLOW_LABEL = "none", "other"
UNKNOWN_WORKLOAD = Workload(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


class Edge(NamedTuple):
    """Client, Service, Route, rule, backend and protocol of a request."""

    client: Workload
    service: Key
    route: str
    rule: str
    backend: str
    protocol: str


_OVERFLOW = Edge(OVERFLOW_WORKLOAD, OVERFLOW_SERVICE, OVERFLOW_LABEL, OVERFLOW_LABEL, OVERFLOW_LABEL, "http")


class Requests(Collector):
    """Adds up the requests that Envoys counted.

    The first `MAX_EDGES` edges have their own series. Further edges are counted as `other`, and requests without a
    series too. An edge without a request for ten minutes is removed after the next scrape.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._edges: dict[Edge, Sums] = {}
        self._last: dict[Edge, float] = {}
        self._overflowed: set[Edge] = set()

    def add(self, edge: Edge | None, sums: Sums) -> None:
        """Add requests. Without an edge they are counted as `other`."""
        known = self._known(edge or _OVERFLOW)
        found = self._edges.setdefault(known, Sums())
        found.add(Sums(_bounded(sums, found), sums.histograms))
        self._last[known] = self._clock()

    def _known(self, edge: Edge) -> Edge:
        if edge in self._edges or len(self._edges) < MAX_EDGES or edge == _OVERFLOW:
            return edge
        if len(self._overflowed) < MAX_EDGES:
            self._overflowed.add(edge)
        return _OVERFLOW

    def saved(self) -> list[tuple[Edge, Sums]]:
        """All edges with their requests, to be restored by another process."""
        return list(self._edges.items())

    def restore(self, edges: Iterable[tuple[Edge, Sums]]) -> None:
        """Continue what another process saved."""
        for edge, sums in edges:
            self.add(edge, sums)

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        yield from self.snapshot()()

    def snapshot(self) -> Callable[[], Iterator[Metric]]:
        """Take the current counts. The returned function makes the families of them, in any thread."""
        edges, overflowed = {edge: sums.copy() for edge, sums in self._edges.items()}, len(self._overflowed)
        self._forget()
        return lambda: _families(edges, overflowed)

    def _forget(self) -> None:
        since = self._clock() - RETENTION_SECONDS
        self._last = {edge: last for edge, last in self._last.items() if last > since or edge == _OVERFLOW}
        self._edges = {edge: sums for edge, sums in self._edges.items() if edge in self._last}
        self._overflowed.clear()


def _bounded(sums: Sums, known: Sums) -> dict[Outcome, int]:
    """New requests by outcome, of which an edge has `MAX_OUTCOMES`; further ones are `other`."""
    found: dict[Outcome, int] = {}
    for outcome, count in sums.outcomes.items():
        new = {*known.outcomes, *found}
        kept = outcome if outcome in new or len(new) < MAX_OUTCOMES else OTHER
        found[kept] = found.get(kept, 0) + count
    return found


def _families(edges: Mapping[Edge, Sums], overflowed: int) -> Iterator[Metric]:
    yield _requests(edges)
    for position, (name, text, unit) in enumerate(_HISTOGRAMS):
        family = HistogramMetricFamily(f"istio_{name}", text, labels=_LABELS)
        bounds = [*(f"{bound / unit}" for bound in [*BOUNDS.values()][position]), "+Inf"]
        for edge, sums in edges.items():
            family.add_metric(list(_labels(edge).values()), *_cumulative(sums.histograms[position], bounds, unit))
        yield family
    gauge = GaugeMetricFamily("weft_request_edges_overflowed", "Edges counted as `other` since the last scrape.")
    gauge.add_metric([], overflowed)
    yield gauge


# In the order of `BOUNDS`, each with the number of its values that make one of the metric's unit.
_HISTOGRAMS = (
    ("request_duration_milliseconds", "From a request's first byte to its answer's last.", 1000),
    ("request_bytes", "Sizes of requests, headers and body.", 1),
    ("response_bytes", "Sizes of answers, headers and body.", 1),
)


def _cumulative(histogram: Histogram, bounds: list[str], unit: int) -> tuple[list[tuple[str, float]], float]:
    """Cumulative counts by upper bound, as Prometheus needs them, and the sum."""
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True)), histogram.sum / unit


def edge_of(series: Series, client: Workload, service: Key) -> Edge:
    """The edge of a series, with its client and the Service that the client dialled."""
    route, rule = rule_of(series.route)
    backend = backend_of(series.cluster, series.members)
    return Edge(client, service, route, rule, backend, "grpc" if series.grpc else "http")


def rule_of(name: str) -> tuple[str, str]:
    """Route and rule of a `Rule.name`. For a request without a Route: `none` and the reason."""
    namespace, _, rest = name.partition("/")
    route, _, rule = rest.partition("/")
    if not rule:
        return NONE, name if name in (NO_MATCH, UNROUTED) else NONE
    return f"{namespace}/{route}", rule.rpartition("/")[0] or rule


def backend_of(cluster: str, members: tuple[str, ...]) -> str:
    """The Service port that a request was sent to. In a weighted pool: the port of the endpoint that answered."""
    name = members[0] if members else cluster
    return name.rpartition("/")[0] if ":" in name else NONE


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


def _requests(edges: Mapping[Edge, Sums]) -> Metric:
    labels = (*_LABELS, "response_code", "grpc_response_status", "response_flags")
    family = CounterMetricFamily("istio_requests", "Requests that came to an end.", labels=labels)
    for edge, sums in edges.items():
        for outcome, count in sums.outcomes.items():
            family.add_metric([*_labels(edge).values(), *outcome], count)
    return family
