"""What docs/conformance.md claims is what the reports say, and the tests that it names are there."""

import re
from pathlib import Path

import pytest
import yaml

from agent.controller.mesh import FEATURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/conformance.md").read_text()
REPORTS = sorted((ROOT / "tests/conformance/reports").glob("*-report.yaml"))


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


@pytest.mark.parametrize("report", REPORTS, ids=[path.name for path in REPORTS])
def test_the_claimed_features_are_those_of_the_report_and_of_the_xmesh(report: Path) -> None:
    claimed = re.findall(r"^`(Mesh\w+)`[,.]$", PAGE, re.MULTILINE)
    profiles = {item["name"]: item for item in yaml.safe_load(report.read_text())["profiles"]}
    assert profiles["MESH-HTTP"]["extended"]["supportedFeatures"] == claimed
    assert set(claimed) <= set(FEATURES)
    assert {item["core"]["result"] for item in profiles.values()} == {"success"}
