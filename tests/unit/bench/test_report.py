"""The report, from the JSON alone: every bar is in it, and pages take the figures between their marks."""

import xml.etree.ElementTree as Xml
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import report
from bench.ratios import Verdict

BARS = [
    Verdict("L4 / direct", "p50", 1.12, 1.07, True, "", (1.05, 1.09), 0.02, 24),
    Verdict("L7 / plain <Envoy>", "p99", 1.2, 1.51, False, "", (1.4, 1.6), 0.1, 24),
    Verdict("bulk", "rate", 0.99, 1.01, None, "not measurable here", (0.9, 1.2), 0.3, 24),
    Verdict("L4 / kube-proxy", "p50", 0.97, reason="kube-proxy is not built"),
]
RESULTS = {
    "machine": {"kernel": "6.18", "CPUs": 2},
    "bars": [asdict(bar) for bar in BARS],
    "programs": {"connect": {"weft_connect4": {"runs": 1.0, "ns": 420}}, "exchange": {}},
}
DIRECT = {"p50": [20.0, 21.0], "p90": [25.0, 26.0], "p99": [40.0, 41.0], "p99.9": [80.0, 81.0], "CPU": [30.0, 31.0]}
SAMPLES = {"connect": {"direct": DIRECT, "weft L4": DIRECT | {"p50": [22.0, 24.0], "agent CPU": [0.1, 0.2]}}}
SCALE = {
    "machine": {"CPUs": 2},
    "bars": [asdict(Verdict("10 Services: cold sync, s", "absolute", 4, 2.5, True))],
    "curve": {"10": {"change, ms": {"p50": 8.1, "p99": 9.9}, "agent, MB": 70.1, "connect / direct": 1.06}},
}
PAGE = "before\n<!-- bench: bars -->\nold\nold\n<!-- end -->\nafter\n<!-- bench: curve -->\n<!-- end -->\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The results of a run, rendered."""
    for name, content in {"latest": RESULTS, "samples": SAMPLES, "scale": SCALE}.items():
        report.write(tmp_path / f"{name}.json", content)
    report.render(tmp_path)
    return tmp_path


def test_the_report_has_every_bar_with_its_verdict(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for text in ("L7 / plain &lt;Envoy&gt;", "kube-proxy is not built", "missed", "± 0.10", "weft_connect4", "70.1"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "it needs nothing from elsewhere"
    assert page.count("<circle") == 3, "a bar without a value is in the table only"


def test_the_chart_is_a_picture_of_its_own(folder: Path) -> None:
    root = Xml.parse(folder / "bars.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_pages_take_the_figures_and_keep_the_rest(folder: Path) -> None:
    run = report.Run.load(folder)
    page = report.quoting(PAGE, run)
    assert page.startswith("before\n<!-- bench: bars -->\n")
    assert "<!-- end -->\nafter\n" in page
    assert "| L4 / direct | 1.07 | 1.05 … 1.09 | ≤ 1.12 | ± 0.02 | met |" in page
    assert "| bulk | 1.01 | 0.90 … 1.20 | ≥ 0.99 | ± 0.30 | not measurable here |" in page
    assert "| 10 | 8.1 | 9.9 | 70.1 | 1.06 |" in page
    assert "old" not in page
    assert report.quoting(page, run) == page


def test_what_was_not_measured_has_no_figures(tmp_path: Path) -> None:
    report.render(tmp_path)
    assert not list(tmp_path.iterdir())
    assert "Not measured." in report.quoting(PAGE, report.Run.load(tmp_path))


def test_the_pages_of_the_project_ask_for_what_there_is() -> None:
    names = [name for page in report.PAGES for name in report.QUOTED.findall(page.read_text())]
    assert names
    assert set(names) <= report.BLOCKS.keys()
