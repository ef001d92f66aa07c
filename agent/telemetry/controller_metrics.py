"""The controller's metrics. Their names do not change: dashboards use them."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, generate_latest

from agent.telemetry.internal_errors import InternalErrorMetrics


class ControllerMetrics:
    """All metrics of the controller's `/metrics`."""

    def __init__(self, version: str, leads: Callable[[], bool], stale: Callable[[], str]) -> None:
        self._registry = CollectorRegistry()
        Info("weft_build", "The controller's version.", registry=self._registry).info({"version": version})
        self._writes = Counter(
            "weft_api_writes", "Writes to the API server by kind and outcome.", ["kind", "outcome"],
            registry=self._registry,
        )  # fmt: skip
        leader = Gauge("weft_leader", "Whether this replica is the one that writes.", registry=self._registry)
        leader.set_function(leads)
        old = Gauge("weft_source_stale", "Whether the source may be out of date.", registry=self._registry)
        old.set_function(lambda: bool(stale()))
        self._requests = Counter(
            "weft_certificate_requests", "Certificate requests by outcome.", ["outcome"], registry=self._registry
        )
        self._problems = Gauge("weft_source_problems", "Objects that cannot be used.", registry=self._registry)

    def register_internal_errors(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Register the number of internal errors, by part."""
        self._registry.register(InternalErrorMetrics(counts))

    def register_certificates(self, waiting: Callable[[], int], end: Callable[[], float]) -> None:
        """Register the number of certificate requests that wait, and the end of the authority that signs."""
        undecided = Gauge(
            "weft_certificate_requests_waiting", "Certificate requests without an outcome.", registry=self._registry
        )
        undecided.set_function(waiting)
        expiry = Gauge(
            "weft_ca_expiry_timestamp_seconds",
            "When the authority that signs ends; 0 where this replica signs nothing.",
            registry=self._registry,
        )
        expiry.set_function(end)

    def decided(self, outcome: str) -> None:
        """Count a certificate request. `outcome` is issued, denied or failed."""
        self._requests.labels(outcome).inc()

    def wrote(self, kind: str, outcome: str) -> None:
        """Count a write of an object of this kind. `outcome` is ok, conflict, gone or failed."""
        self._writes.labels(kind, outcome).inc()

    def problems(self, count: int) -> None:
        """Set the number of objects that cannot be used."""
        self._problems.set(count)

    def written(self, kind: str, outcome: str = "ok") -> float:
        """The number of writes with this outcome."""
        value = self._registry.get_sample_value("weft_api_writes_total", {"kind": kind, "outcome": outcome})
        return value or 0.0

    def render(self) -> str:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry).decode()
