"""The scenarios say nothing that is not there."""

import yaml

from bench.lab import HERE
from bench.ratios import WIDEST
from bench.scenarios import ENVOYS, REDIRECTIONS, SERVERS, SUITES, WAYS

SCENARIOS = {scenario for suite in SUITES.values() for scenario in suite.scenarios}
OBJECTS = list(yaml.safe_load_all((HERE / "lab.yaml").read_text()))
NAMES = {f"{item['metadata'].get('namespace')}/{item['metadata']['name']}" for item in OBJECTS if item["kind"] == "Pod"}


def test_bars_compare_ways_of_their_scenario_by_a_measure_with_a_rule() -> None:
    for scenario in SCENARIOS:
        for bar in scenario.bars:
            assert {bar.subject, bar.reference} <= set(scenario.ways), bar
            assert bar.measure in WIDEST, bar
        assert set(scenario.ways) <= set(WAYS), scenario


def test_names_are_unique() -> None:
    for suite in SUITES.values():
        names = [scenario.name for scenario in suite.scenarios]
        bars = [bar.name for scenario in suite.scenarios for bar in scenario.bars]
        assert len(names) == len(set(names))
        assert len(bars) == len(set(bars))


def test_the_lab_has_the_pods_and_addresses() -> None:
    addresses = {item["spec"].get("clusterIP") for item in OBJECTS if item["kind"] == "Service"} | {
        item["metadata"]["annotations"]["lab.weft.dev/address"] for item in OBJECTS if item["kind"] == "Pod"
    }
    assert {way.address for way in WAYS.values()} <= addresses
    assert {way.client for way in WAYS.values()} | {
        pod for pod, *_ in (*SERVERS, *ENVOYS)
    } | REDIRECTIONS.keys() <= NAMES
