"""Requests at the waypoint: under which names they are counted, and how many series there are."""

import pytest
from prometheus_client import CollectorRegistry

from agent.ir.access_log import NO_MATCH, UNROUTED
from agent.ir.request_stats import BOUNDS, OTHER, Outcome, Series, Sums
from agent.telemetry.request_log import PodAddresses, RequestCounts
from agent.telemetry.requests import MAX_EDGES, MAX_OUTCOMES, RETENTION_SECONDS, Requests, backend_of, rule_of
from support.fakes.telemetry import CLIENT

SERIES = Series("10.1.0.9", "faces/smiley:80@faces", "faces/canary/main/0", "faces/smiley2:80/http")
FINE = Outcome("200")


def sums(outcome: Outcome = FINE) -> Sums:
    """One request of 80 bytes, whose answer of 5000 bytes took 3 ms."""
    found = Sums({outcome: 1})
    for histogram, bounds, value in zip(found.histograms, BOUNDS.values(), (3000, 80, 5000), strict=True):
        histogram.record(bounds, value, 1)
        histogram.sum = value
    return found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """Requests, and what Prometheus would be told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.requests = Requests(self.clock)
        self.counts = RequestCounts(PodAddresses(lambda: {41: CLIENT}), self.requests)
        self.registry = CollectorRegistry()
        self.registry.register(self.requests)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels among theirs."""
        samples = [sample for family in self.registry.collect() for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_a_request_is_counted_under_istio_s_names_and_our_own() -> None:
    counted = Counted()
    counted.counts.record([(SERIES, sums())])
    assert counted.value(
        "istio_requests_total",
        reporter="waypoint",
        source_workload="face",
        source_workload_namespace="faces",
        source_canonical_service="face-app",
        destination_service="smiley.faces.svc.cluster.local",
        destination_service_name="smiley",
        destination_canonical_service="smiley2",
        request_protocol="http",
        response_code="200",
        grpc_response_status="",
        response_flags="-",
        route="faces/canary",
        rule="main",
        backend="faces/smiley2:80",
    )
    assert counted.value("istio_request_duration_milliseconds_sum") == 3
    assert counted.value("istio_request_duration_milliseconds_bucket", le="1.0") == 0
    assert counted.value("istio_request_duration_milliseconds_bucket", le="5.0") == 1
    assert counted.value("istio_request_bytes_sum") == 80
    assert counted.value("istio_response_bytes_bucket", le="1000.0") == 0
    assert counted.value("istio_response_bytes_bucket", le="10000.0") == 1


def test_how_requests_end_divides_the_counter_and_not_the_histograms() -> None:
    counted = Counted()
    for outcome in (FINE, Outcome("503", "", "UH"), Outcome("503", "", "UH")):
        counted.counts.record([(SERIES, sums(outcome))])
    assert counted.value("istio_requests_total", response_code="503", response_flags="UH") == 2
    assert counted.value("istio_request_duration_milliseconds_count") == 3


def test_grpc_has_its_status() -> None:
    counted = Counted()
    counted.counts.record([(SERIES._replace(grpc=True), sums(Outcome("200", "14")))])
    assert counted.value("istio_requests_total", request_protocol="grpc", grpc_response_status="14") == 1


def test_an_unknown_client_is_counted_too() -> None:
    counted = Counted()
    counted.counts.record([(SERIES._replace(client="10.9.9.9"), sums())])
    assert counted.value("istio_requests_total", source_workload="unknown", destination_service_name="smiley") == 1


def test_requests_without_a_series_are_other() -> None:
    counted = Counted()
    counted.counts.record([(None, Sums({OTHER: 7}, sums().histograms))])
    assert counted.value("istio_requests_total", source_workload="other", route="other", response_code="other") == 7
    assert counted.value("istio_request_bytes_sum", source_workload="other") == 80


def test_more_edges_than_there_is_room_for_are_other_until_there_is_room() -> None:
    counted = Counted()
    for number in range(MAX_EDGES + 3):
        counted.counts.record([(SERIES._replace(cluster=f"faces/b{number}:80/http"), sums())])
    assert counted.value("weft_request_edges_overflowed") == 3
    assert counted.value("istio_requests_total", source_workload="other", route="other") == 3
    assert counted.value("istio_requests_total") == MAX_EDGES + 3
    counted.clock.now = RETENTION_SECONDS
    counted.value("istio_requests_total")
    counted.counts.record([(SERIES._replace(cluster="faces/late:80/http"), sums())])
    assert counted.value("istio_requests_total", backend="faces/late:80") == 1


def test_the_next_process_continues_the_counts() -> None:
    counted, after = Counted(), Counted()
    counted.counts.record([(SERIES, sums())])
    after.requests.restore(counted.requests.saved())
    after.counts.record([(SERIES, sums())])
    assert after.value("istio_requests_total", source_workload="face") == 2
    assert after.value("istio_request_duration_milliseconds_sum") == 6


def test_more_ways_to_end_than_there_is_room_for_are_other() -> None:
    counted = Counted()
    for code in range(200, 200 + MAX_OUTCOMES + 5):
        counted.counts.record([(SERIES, sums(Outcome(str(code))))])
    assert counted.value("istio_requests_total", response_code="other") == 5


@pytest.mark.parametrize(
    ("name", "route", "rule"),
    [
        ("faces/canary/0/1", "faces/canary", "0"),
        ("faces/canary/my-rule/1", "faces/canary", "my-rule"),
        (NO_MATCH, "none", NO_MATCH),
        (UNROUTED, "none", UNROUTED),
        ("", "none", "none"),
    ],
)
def test_what_a_rule_s_name_says(name: str, route: str, rule: str) -> None:
    assert rule_of(name) == (route, rule)


@pytest.mark.parametrize(
    ("cluster", "members", "backend"),
    [
        ("a/b:80/h2c", (), "a/b:80"),
        ("a/b:80+a/c:80/http", ("a/c:80/http",), "a/c:80"),
        ("a/b:80+a/c:80/http", (), "a/b:80+a/c:80"),
        ("", (), "none"),
    ],
)
def test_who_was_to_answer(cluster: str, members: tuple[str, ...], backend: str) -> None:
    assert backend_of(cluster, members) == backend


def test_the_service_of_a_listener_without_a_consumer() -> None:
    counted = Counted()
    counted.counts.record([(SERIES._replace(listener="faces/smiley:80"), sums())])
    assert counted.value("istio_requests_total", destination_service_name="smiley") == 1
