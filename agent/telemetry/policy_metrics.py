"""What policies decided, enforced or audited, as a Prometheus metric."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Counts = Mapping[tuple[str, str, str, str], int]
"""By policies (joined by `+`), verdict (`allowed`, `refused`), end and mode (`enforce`, `audit`)."""


class PolicyMetrics(Collector):
    """The counter of each end at which policies are judged, read at each scrape."""

    def __init__(self, *ends: Callable[[], Counts]) -> None:
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        """The family `weft_authz_total`."""
        text = "Connections, datagrams and requests that policies decided about; mode audit: what they would decide."
        family = CounterMetricFamily("weft_authz", text, labels=["policy", "verdict", "end", "mode"])
        for end in self._ends:
            for labels, count in sorted(end().items()):
                family.add_metric(list(labels), count)
        yield family
