"""Every scenario of the benchmarks runs in a lab, on every way, and the kernel's counts show which programs ran."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench import programs, rounds
from bench.lab import Lab, started
from bench.scenarios import SUITES

pytestmark = pytest.mark.node
SERVICES = 30
SKIPPED = {"kube-proxy": "is not started"}
SCENARIOS = {
    scenario.name: replace(scenario, count=max(20, scenario.connections)) for scenario in SUITES["full"].scenarios
}


@pytest.fixture(scope="module")
def lab(no_stale_labs: None) -> Iterator[Lab]:
    with started(f"t{os.getpid()}bench", SERVICES) as made:
        yield made


def test_the_services_are_in_the_kernel(lab: Lab) -> None:
    frontends = [item for item in lab.status()["frontends"] if item["service"].startswith("many/")]
    assert len(frontends) == SERVICES


@pytest.mark.bpf
def test_programs_run_once_a_connection_and_never_for_packets(lab: Lab) -> None:
    connects = programs.per_operation(lab, SCENARIOS["TCP connect, request and response"], "weft L4")
    assert connects["weft_connect4"]["runs"] == 1
    assert connects["weft_connect4"]["ns"] > 0
    exchanges = programs.per_operation(lab, SCENARIOS["request and response on an open connection"], "weft L4")
    assert [program["runs"] for program in exchanges.values()] == [0] * len(exchanges)
    datagrams = programs.per_operation(lab, SCENARIOS["UDP, unconnected"], "weft L4")
    assert datagrams["weft_sendmsg4"]["runs"] == 2, "the client's datagram, and the server's"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_samples_of_each_way_and_a_verdict_on_each_bar(lab: Lab, name: str) -> None:
    scenario = SCENARIOS[name]
    samples = rounds.measure(lab, scenario, 2, SKIPPED)
    ways = {way for way in scenario.ways if way not in SKIPPED}
    assert samples.keys() == ways | {way + rounds.AGAIN for way in scenario.references if way in ways}
    for measures in samples.values():
        shares = zip(*(measures[name] for name in ("p50", "p90", "p99", "p99.9")), strict=True)
        assert [0 < p50 <= p90 <= p99 <= p999 for p50, p90, p99, p999 in shares] == [True, True]
    verdicts = {verdict.name: verdict for verdict in rounds.verdicts(scenario, samples, SKIPPED)}
    for bar in scenario.bars:
        assert (verdicts[bar.name].reason == "is not started") == ("kube-proxy" in (bar.subject, bar.reference))


def test_at_a_rate_an_operation_counts_its_wait_for_those_before_it(lab: Lab) -> None:
    """One is due each microsecond, and takes longer."""
    scenario = replace(SCENARIOS["request and response on an open connection"], rate=1_000_000)
    way = rounds.WAYS["direct"]
    times = lab.ask(way, way.address, scenario)
    assert times == sorted(set(times))


def test_a_failed_operation_is_no_figure(lab: Lab) -> None:
    way = replace(rounds.WAYS["direct"], client="mesh/protected", port=1)
    with pytest.raises(RuntimeError, match=r"TCP connect, from mesh/protected to 10\.244\.9\.2: the client has ended"):
        lab.ask(way, way.address, SCENARIOS["TCP connect"])
