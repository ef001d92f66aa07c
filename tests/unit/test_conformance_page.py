"""What docs/conformance.md claims is what the reports say, and the tests that it names are there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from agent.controller.mesh import FEATURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/conformance.md").read_text()
REPORTS = sorted((ROOT / "tests/conformance/reports").glob("v*/weft/*-report.yaml"))
IDS = ["-".join(path.parts[-3:]) for path in REPORTS]


def named_tests() -> list[tuple[str, str]]:
    """Every test of the page as file and function; `::test_x` is of the file named before it."""
    found, file = [], ""
    for path, name in re.findall(r"`(tests/\S+\.py)?::(\w+)`", PAGE):
        file = path or file
        found.append((file, name))
    return found


def test_the_page_names_tests() -> None:
    assert len(named_tests()) > 30


@pytest.mark.parametrize(("file", "name"), named_tests())
def test_each_test_of_the_page_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_each_golden_case_of_the_page_is_there() -> None:
    rows = [line for line in PAGE.splitlines() if "golden case" in line and line.startswith("|")]
    cases = [case for row in rows for case in re.findall(r"`([a-z0-9.-]+)`", row.partition("golden case")[2])]
    assert cases
    assert [case for case in cases if not (ROOT / "tests/golden" / case).is_dir()] == []


def test_there_is_a_report_of_each_version_and_channel() -> None:
    there = {(path.parts[-3], path.name.partition("-")[0]) for path in REPORTS}
    assert there == {(version, channel) for version in ("v1.6", "v1.7") for channel in ("standard", "experimental")}


@pytest.mark.parametrize("path", REPORTS, ids=IDS)
def test_a_report_is_where_upstream_looks_for_it(path: Path) -> None:
    report = yaml.safe_load(path.read_text())
    assert report["gatewayAPIVersion"].startswith(f"{path.parts[-3]}.")
    named = (report["gatewayAPIChannel"], report["implementation"]["version"], report["mode"], "report.yaml")
    assert path.name == "-".join(named)
    assert f"(./{path.name})" in path.with_name("README.md").read_text()


@pytest.mark.parametrize("path", REPORTS, ids=IDS)
def test_a_report_names_whom_the_settings_name(path: Path) -> None:
    settings = tomllib.loads((ROOT / "tests/conformance/implementation.toml").read_text())
    named = yaml.safe_load(path.read_text())["implementation"]
    assert named["project"] == settings["project"]
    for name in ("organization", "url", "contact"):
        assert named[name] == settings[name] or (not settings[name] and "not-filled-in" in str(named[name]))


@pytest.mark.parametrize("report", REPORTS, ids=IDS)
def test_the_claimed_features_are_those_of_the_report_and_of_the_xmesh(report: Path) -> None:
    claimed = re.findall(r"^`(Mesh\w+)`[,.]$", PAGE, re.MULTILINE)
    profiles = {item["name"]: item for item in yaml.safe_load(report.read_text())["profiles"]}
    assert profiles["MESH-HTTP"]["extended"]["supportedFeatures"] == claimed
    assert set(claimed) <= set(FEATURES)
    assert {item["core"]["result"] for item in profiles.values()} == {"success"}
