"""Prometheus metrics. Names are for ever: dashboards are built on them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.ir.tables import Reason
from agent.telemetry.flow_metrics import FlowMetrics
from agent.telemetry.flows import Flow
from agent.telemetry.internal_errors import InternalErrorMetrics
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
}

Family = CounterMetricFamily | GaugeMetricFamily


class _Decisions(Collector):
    """The kernel's own counters, read when somebody asks."""

    def __init__(self, counters: Callable[[], Mapping[Reason, int]]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counts = self._counters()
        decisions = CounterMetricFamily(
            "weft_decisions", "Decisions of the kernel by verdict and reason.", labels=["verdict", "reason"]
        )
        events = CounterMetricFamily("weft_datapath_events", "Other things that the kernel counts.", labels=["event"])
        for reason in Reason:
            verdict, count = VERDICTS.get(reason), counts.get(reason, 0)
            if verdict is None:
                events.add_metric([reason.name.lower()], count)
            else:
                decisions.add_metric([verdict, reason.name.lower()], count)
        yield decisions
        yield events


class _Fill(Collector):
    """How full each kernel table is."""

    def __init__(self, fill: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        self._fill = fill

    def collect(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("weft_table_rows", "Rows in use of a kernel table.", labels=["table"])
        capacity = GaugeMetricFamily("weft_table_capacity", "Rows that fit in a kernel table.", labels=["table"])
        for table, (used, room) in self._fill().items():
            rows.add_metric([table], used)
            capacity.add_metric([table], room)
        yield rows
        yield capacity


class _Numbers(Collector):
    """A metric with one label, counted elsewhere; `empty` makes its family."""

    def __init__(self, empty: Callable[[], Family], numbers: Callable[[], Mapping[str, int]]) -> None:
        self._empty = empty
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        family = self._empty()
        for value, number in self._numbers().items():
            family.add_metric([value], number)
        yield family


class Large(Protocol):
    """A collector of very many series: what they are made of is taken at once, and made into families later."""

    def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """What was counted; it does not change any more."""


class _Family(Collector):
    """A family that is there already."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


class Answers(Protocol):
    """How often Envoys acknowledged and refused a response."""

    acks: int
    nacks: int


class Metrics:
    """Everything that `/metrics` shows."""

    def __init__(self, version: str, counters: Callable[[], Mapping[Reason, int]]) -> None:
        self._registry = CollectorRegistry()
        self._large: list[Large] = []
        self._one_at_a_time = asyncio.Lock()
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
        """One pass wrote this many rows."""
        self._writes.inc(writes)
        self._seconds.observe(seconds)

    def drifted(self, rows: int) -> None:
        """An audit found this many rows that were not as written."""
        self._drift.inc(rows)

    def show_fill(self, fill: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        """Show how full the tables are."""
        self._registry.register(_Fill(fill))

    def show_counts(self, name: str, text: str, label: str, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show a counter that is read, by its label's values, when somebody asks."""
        self._registry.register(_Numbers(lambda: CounterMetricFamily(name, text, labels=[label]), counts))

    def show_numbers(self, name: str, text: str, label: str, numbers: Callable[[], Mapping[str, int]]) -> None:
        """Show numbers that are read, by their label's values, when somebody asks."""
        self._registry.register(_Numbers(lambda: GaugeMetricFamily(name, text, labels=[label]), numbers))

    def show_internal_errors(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show how many internal errors there have been, by part."""
        self._registry.register(InternalErrorMetrics(counts))

    def show_flows(self, load: Callable[[], Iterable[Flow]], prepare: Callable[[], None] = lambda: None) -> None:
        """Show what became of connections, by client workload and Service: `load` may run in another thread, after
        `prepare`.
        """
        self._large.append(FlowMetrics(load, prepare))

    def show_requests(self, requests: Requests) -> None:
        """Show what became of requests at the waypoint."""
        self._large.append(requests)

    def show_discovery(
        self, answers: Answers, rejected: Callable[[], Mapping[str, int]], drift: Callable[[], float]
    ) -> None:
        """Show what Envoys did with their resources; `rejected` counts by kind what they lack of it."""
        self.show("weft_xds_acks", "Responses that Envoy acknowledged.", lambda: answers.acks)
        self.show("weft_xds_nacks", "Responses that Envoy refused.", lambda: answers.nacks)
        self.show_numbers(
            "weft_xds_rejected",
            "Resources that an Envoy refuses, or that cannot be encoded; the version before stays.",
            "kind",
            rejected,
        )
        self.show("weft_xds_drift", "Resources that audits found not served as acknowledged.", drift)

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is read when somebody asks."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def render(self) -> str:
        """All of it, in Prometheus' text format."""
        return self._snapshot()().decode()

    async def rendered(self) -> bytes:
        """The same. Only what is little is made on the loop: megabytes of text are made by a thread."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._snapshot())

    def _snapshot(self) -> Callable[[], bytes]:
        """All numbers as they are now; the text is then made of them, in whatever thread."""
        little = list(self._registry.collect())
        large = [item.snapshot() for item in self._large]

        return lambda: b"".join(map(_text, chain(little, chain.from_iterable(made() for made in large))))


def _text(family: Metric) -> bytes:
    """One family by itself: to free those of all families at once would keep every thread from running."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Family(family))
    return generate_latest(registry)
