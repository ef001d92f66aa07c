"""Flows as Prometheus metrics, with Istio's names and labels. Bytes are added when a connection closes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from errno import errorcode
from itertools import accumulate
from operator import add

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.ir.flow_tables import FLOW_STEPS
from agent.ir.tables import Reason
from agent.telemetry.flows import OVERFLOW_SERVICE, OVERFLOW_WORKLOAD, Flow
from agent.telemetry.istio import Pair, pair_labels

MAX_PAIRS = 200  # each costs about 9 kB and 0.7 ms with every scrape
Grouped = list[tuple[Pair, Flow]]
_OVERFLOW: Pair = (OVERFLOW_WORKLOAD, OVERFLOW_SERVICE)
_BOUNDS = [*(f"{64e-6 * 2**step:.6f}" for step in range(FLOW_STEPS - 1)), "+Inf"]
# Envoy's response flags: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
_FINE, _CONNECT_FAILED = "-", "UF"
REFUSAL_FLAGS = {
    Reason.NO_BACKEND: "UH",
    Reason.SHARE_REJECTED: "NC",
    Reason.WAYPOINT_LOST: "UH",
    Reason.OVER_BUDGET: "OM",
    Reason.POLICY_FORBIDS: "UAEX",
}
_FOLLOWED = (Reason.FORWARDED, Reason.TO_WAYPOINT)
_ISTIO_COUNTERS = (
    ("connections_opened", "TCP connections opened."),
    ("connections_closed", "TCP connections closed."),
    ("sent_bytes", "Bytes that clients sent."),
    ("received_bytes", "Bytes that clients received."),
)

_OWN_LABELS = (
    "source_workload_namespace",
    "source_workload",
    "destination_service_namespace",
    "destination_service_name",
)
_ISTIO_LABELS = (*pair_labels(_OVERFLOW), "response_flags")


def _own(pair: Pair) -> tuple[str, ...]:
    """The values of `_OWN_LABELS`."""
    client, service = pair
    return client.namespace, client.name, service.namespace, service.name


class FlowMetrics(Collector):
    """Reads the kernel's flows at each scrape.

    The first `MAX_PAIRS` pairs of client and Service have their own series. Further pairs are counted as `other`.
    """

    def __init__(self, load: Callable[[], Iterable[Flow]], prepare: Callable[[], None] = lambda: None) -> None:
        """`load` reads the flows in any thread, after the event loop has called `prepare`."""
        self._load = load
        self._prepare = prepare
        self._pairs: set[Pair] = set()

    def collect(self) -> Iterator[Metric]:
        """All metric families. Raises `OSError` when the kernel's map cannot be read."""
        yield from self.snapshot()()

    def snapshot(self) -> Callable[[], Iterator[Metric]]:
        """Look up the current names. The returned function reads and counts flows, in one thread at a time."""
        self._prepare()
        return self._families

    def _families(self) -> Iterator[Metric]:
        flows = list(self._load())
        met = {(flow.client, flow.service) for flow in flows} - {_OVERFLOW}
        self._pairs &= met
        free = MAX_PAIRS - len(self._pairs)
        self._pairs |= set(sorted(met - self._pairs)[:free])
        grouped = [(self._pair(flow), flow) for flow in flows]
        overflowed = GaugeMetricFamily("weft_flow_pairs_overflowed", "Pairs of client and Service counted as `other`.")
        overflowed.add_metric([], len(met - self._pairs))
        yield overflowed
        yield from _istio(grouped)
        yield from _own_counters(grouped)
        connect = ((pair, flow.sums.connect_steps, flow.sums.connect_us) for pair, flow in grouped)
        yield _histogram("weft_tcp_connect_seconds", "Time to connect.", connect)
        rtt = ((pair, flow.sums.rtt_steps, flow.sums.rtt_us) for pair, flow in grouped)
        yield _histogram("weft_tcp_rtt_seconds", "Smoothed round-trip time when a connection closed.", rtt)

    def _pair(self, flow: Flow) -> Pair:
        pair = flow.client, flow.service
        return pair if pair in self._pairs else _OVERFLOW


def _connections(flow: Flow) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """For each Envoy response flag: connections opened and closed, bytes sent and received.

    A connection that failed counts as opened and as closed.
    """
    sums = flow.sums
    if flow.reason in _FOLLOWED and not flow.error:
        yield _FINE, (sums.established, sums.closed, sums.sent, sums.received)
    if sums.failed:
        yield _CONNECT_FAILED, (sums.failed, sums.failed, 0, 0)
    if flow.refused:
        yield REFUSAL_FLAGS[flow.reason], (flow.refused, flow.refused, 0, 0)


def _istio(grouped: Grouped) -> Iterator[Metric]:
    """Istio's four TCP counters, which its dashboards read."""
    sums: dict[tuple[Pair, str], tuple[int, ...]] = {}
    for pair, flow in grouped:
        for flags, numbers in _connections(flow) if flow.protocol == "TCP" else ():
            sums[pair, flags] = tuple(map(add, sums.get((pair, flags), (0, 0, 0, 0)), numbers))
    for column, (name, text) in enumerate(_ISTIO_COUNTERS):
        family = CounterMetricFamily(f"istio_tcp_{name}", text, labels=_ISTIO_LABELS)
        for (pair, flags), row in sums.items():
            family.add_metric([*pair_labels(pair).values(), flags], row[column])
        yield family


def _own_counters(grouped: Grouped) -> Iterator[Metric]:
    """Counters for which Istio has no name."""
    failed = ((pair, errorcode.get(flow.error, "none"), flow.sums.failed) for pair, flow in grouped)
    yield _counter("weft_tcp_failed", "Connections that failed, by errno (none: given up).", "errno", failed)
    refused = ((pair, flow.reason.name.lower(), flow.refused) for pair, flow in grouped)
    yield _counter("weft_refused", "Connections and datagrams that weft refused.", "reason", refused)
    udp = (
        (pair, flow.reason.name.lower(), flow.sums.opened)
        for pair, flow in grouped
        if flow.protocol == "UDP" and flow.reason in _FOLLOWED
    )
    yield _counter("weft_udp_opened", "UDP sockets that were given a backend.", "reason", udp)


def _counter(name: str, text: str, label: str, rows: Iterable[tuple[Pair, str, int]]) -> Metric:
    sums: dict[tuple[Pair, str], int] = defaultdict(int)
    for pair, value, number in rows:
        sums[pair, value] += number
    family = CounterMetricFamily(name, text, labels=(*_OWN_LABELS, label))
    for (pair, value), number in sums.items():
        if number:
            family.add_metric([*_own(pair), value], number)
    return family


def _histogram(name: str, text: str, rows: Iterable[tuple[Pair, tuple[int, ...], int]]) -> Metric:
    """`rows` are counts by bucket, and the sum in microseconds."""
    sums: dict[Pair, tuple[int, ...]] = {}
    for pair, steps, total in rows:
        if any(steps):
            sums[pair] = tuple(map(add, sums.get(pair, (0,) * (FLOW_STEPS + 1)), (*steps, total)))
    family = HistogramMetricFamily(name, text, labels=_OWN_LABELS)
    for pair, row in sums.items():
        buckets = zip(_BOUNDS, accumulate(row[:-1]), strict=True)
        family.add_metric(_own(pair), list(buckets), row[-1] / 1e6)
    return family
