"""The agent's Prometheus metrics. Their names do not change: dashboards use them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.budget import Budget
from agent.ir.tables import Reason
from agent.telemetry.budgets import BudgetMetrics
from agent.telemetry.flow_metrics import FlowMetrics
from agent.telemetry.flows import Flow
from agent.telemetry.internal_errors import InternalErrorMetrics
from agent.telemetry.policy_metrics import Counts, PolicyMetrics
from agent.telemetry.requests import Requests

VERDICTS = {
    Reason.NOT_ENROLLED: "pass",
    Reason.UNKNOWN_POD: "pass",
    Reason.UNKNOWN_POD_REJECTED: "reject",
    Reason.NO_FRONTEND: "pass",
    Reason.FORWARDED: "forward",
    Reason.TO_WAYPOINT: "waypoint",
    Reason.PASSED: "pass",
    Reason.NO_BACKEND: "reject",
    Reason.SHARE_REJECTED: "reject",
    Reason.WAYPOINT_DIALLED: "reject",
    Reason.WAYPOINT_LOST: "reject",
    Reason.OVER_BUDGET: "reject",
    Reason.POLICY_FORBIDS: "reject",
}

Family = CounterMetricFamily | GaugeMetricFamily


class _Decisions(Collector):
    """The kernel's counters, read at each scrape."""

    def __init__(self, counters: Callable[[], Mapping[Reason, int]]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counts = self._counters()
        decisions = CounterMetricFamily(
            "weft_decisions", "Decisions of the kernel by verdict and reason.", labels=["verdict", "reason"]
        )
        events = CounterMetricFamily("weft_datapath_events", "Other counters of the kernel.", labels=["event"])
        for reason in Reason:
            verdict, count = VERDICTS.get(reason), counts.get(reason, 0)
            if verdict is None:
                events.add_metric([reason.name.lower()], count)
            else:
                decisions.add_metric([verdict, reason.name.lower()], count)
        yield decisions
        yield events


class _TableUsage(Collector):
    """Rows and capacity of each kernel map."""

    def __init__(self, fill: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        self._fill = fill

    def collect(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("weft_table_rows", "Rows in use of a kernel table.", labels=["table"])
        capacity = GaugeMetricFamily("weft_table_capacity", "Rows that fit in a kernel table.", labels=["table"])
        for table, (used, maximum) in self._fill().items():
            rows.add_metric([table], used)
            capacity.add_metric([table], maximum)
        yield rows
        yield capacity


class _Numbers(Collector):
    """A family with one label, counted elsewhere. `empty` makes the family."""

    def __init__(self, empty: Callable[[], Family], numbers: Callable[[], Mapping[str, int]]) -> None:
        self._empty = empty
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        family = self._empty()
        for value, number in self._numbers().items():
            family.add_metric([value], number)
        yield family


class SnapshotCollector(Protocol):
    """A collector of very many series. A snapshot is taken at once; the families are made from it later."""

    def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """The current values. They do not change any more."""


class _Family(Collector):
    """A collector of one existing family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


class XdsCounters(Protocol):
    """How many responses Envoys acknowledged and rejected."""

    acks: int
    nacks: int


class Metrics:
    """All metrics of the agent's `/metrics`."""

    def __init__(self, version: str, counters: Callable[[], Mapping[Reason, int]]) -> None:
        self._registry = CollectorRegistry()
        self._large: list[SnapshotCollector] = []
        self._one_at_a_time = asyncio.Lock()
        self._counters = counters
        self._registry.register(_Decisions(counters))
        Info("weft_build", "The agent's version.", registry=self._registry).info({"version": version})
        self._writes = Counter("weft_table_writes", "Rows written to kernel tables.", registry=self._registry)
        self._seconds = Histogram(
            "weft_apply_seconds",
            "Time to write one change set to the kernel.",
            buckets=(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
            registry=self._registry,
        )
        self._drift = Counter("weft_drift_rows", "Rows that audits found not as written.", registry=self._registry)

    def applied(self, writes: int, seconds: float) -> None:
        """Count a pass that wrote this many rows."""
        self._writes.inc(writes)
        self._seconds.observe(seconds)

    def drifted(self, rows: int) -> None:
        """Count rows that an audit found different from what was written."""
        self._drift.inc(rows)

    def register_table_usage(self, fill: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        """Register rows and capacity of the kernel's maps."""
        self._registry.register(_TableUsage(fill))

    def register_budgets(self, budgets: Callable[[], Iterable[Budget]]) -> None:
        """Register what namespaces use of what they share."""
        self._registry.register(BudgetMetrics(budgets))

    def register_authorization(self, at_servers: Callable[[], Counts], at_waypoint: Callable[[], Counts]) -> None:
        """Register what policies decided at the servers' end and at the waypoint, and how many connections the clients'
        end refused.
        """
        refused = ("", "refused", "client", "enforce")
        self._registry.register(
            PolicyMetrics(at_servers, at_waypoint, lambda: {refused: self._counters().get(Reason.POLICY_FORBIDS, 0)})
        )

    def register_counters(self, name: str, text: str, label: str, counts: Callable[[], Mapping[str, int]]) -> None:
        """Register a counter with one label, whose values are read at each scrape."""
        self._registry.register(_Numbers(lambda: CounterMetricFamily(name, text, labels=[label]), counts))

    def register_gauges(self, name: str, text: str, label: str, numbers: Callable[[], Mapping[str, int]]) -> None:
        """Register a gauge with one label, whose values are read at each scrape."""
        self._registry.register(_Numbers(lambda: GaugeMetricFamily(name, text, labels=[label]), numbers))

    def register_internal_errors(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Register the number of internal errors, by part."""
        self._registry.register(InternalErrorMetrics(counts))

    def register_flows(self, load: Callable[[], Iterable[Flow]], prepare: Callable[[], None] = lambda: None) -> None:
        """Register the metrics of connections, by client workload and Service. `load` may run in another thread, after
        `prepare`.
        """
        self._large.append(FlowMetrics(load, prepare))

    def register_requests(self, requests: Requests) -> None:
        """Register the metrics of requests at the waypoint."""
        self._large.append(requests)

    def register_xds(
        self, answers: XdsCounters, rejected: Callable[[], Mapping[str, int]], drift: Callable[[], float]
    ) -> None:
        """Register the metrics of xDS. `rejected` returns the number of rejected resources by kind."""
        self.register_gauge("weft_xds_acks", "Responses that Envoy acknowledged.", lambda: answers.acks)
        self.register_gauge("weft_xds_nacks", "Responses that Envoy refused.", lambda: answers.nacks)
        self.register_gauges(
            "weft_xds_rejected",
            "Resources that an Envoy refuses, or that cannot be encoded; the version before stays.",
            "kind",
            rejected,
        )
        self.register_gauge("weft_xds_drift", "Resources that audits found not served as acknowledged.", drift)

    def register_gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Register a gauge whose value is read at each scrape."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def render(self) -> str:
        """All metrics in the Prometheus text format."""
        return self._snapshot()().decode()

    async def rendered(self) -> bytes:
        """All metrics in the Prometheus text format. A thread renders the text, which can be megabytes."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._snapshot())

    def _snapshot(self) -> Callable[[], bytes]:
        """Take all current values. The returned function renders them, in any thread."""
        little = list(self._registry.collect())
        large = [item.snapshot() for item in self._large]

        return lambda: b"".join(map(_text, chain(little, chain.from_iterable(made() for made in large))))


def _text(family: Metric) -> bytes:
    """One family at a time: freeing the objects of all families at once would hold the GIL for too long."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Family(family))
    return generate_latest(registry)
