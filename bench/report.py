"""`python -m bench.report`: renders results/latest.json as report.html and bars.svg, and into the pages that quote it.

A page quotes figures between the lines `<!-- bench: NAME -->` and `<!-- end -->`; NAME is one of `BLOCKS`.
"""

import json
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.charts import STYLE, Interval, intervals, times

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGES = (HERE / "README.md", HERE.parent / "README.md")
QUOTED = re.compile(r"(?m)^<!-- bench: (\w+) -->\n(?:.*\n)*?<!-- end -->$")
NUMBERS = re.compile(r"\[\s+([-\d.,\s]+?)\s+\]")
VERDICTS = {True: "met", False: "**missed**", None: "–"}
RATE = "rate"
NOTHING = "Not measured."
CPU = ("CPU", "proxy CPU", "agent CPU")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>weft: numbers</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; font-size: 14px }}
td, th {{ padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums }}
{style}</style>
<h1>weft: numbers</h1>
<p>{machine}</p>
<h2>Bars</h2>
<p>Each row is the median of paired ratios, with the interval of 95 % of its bootstrap medians. The tick is the bound.
The grey area beside it is what the run's control widens it by. Green: met. Red: missed. Grey: the control was too wide
to say so.</p>
{bars}{table}
<h2>Times</h2>
<p>p50 of an operation, the median of all rounds. Compare within one chart only.</p>
{times}
<h2>CPU</h2>
{cpu}
<h2>Runs of weft's programs for an operation on the way “weft L4”</h2>
{programs}
{scale}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What was written last: latest.json, samples.json and scale.json. Empty where nothing was measured."""

    latest: Mapping[str, Any]
    samples: Mapping[str, Any]
    scale: Mapping[str, Any]

    @classmethod
    def load(cls, results: Path) -> "Run":
        """Read a folder of results."""
        files = (results / f"{name}.json" for name in ("latest", "samples", "scale"))
        return cls(*(json.loads(file.read_text()) if file.exists() else {} for file in files))


def write(file: Path, content: object) -> None:
    """Write a file of results. Lists of numbers are on one line each."""
    file.parent.mkdir(exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    file.write_text(NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n")


def render(results: Path = RESULTS) -> None:
    """Write report.html and bars.svg: of a trial into its folder, else beside this file, and into pages."""
    run, folder = Run.load(results), HERE if results == RESULTS else results
    if run.latest:
        chart = intervals([_interval(bar) for bar in run.latest["bars"] if bar["interval"]])
        (folder / "bars.svg").write_text(chart.replace(">", f"><style>{STYLE}</style>", 1) + "\n")
        (folder / "report.html").write_text(_report(run, chart))
    for page in PAGES if results == RESULTS else ():
        page.write_text(quoting(page.read_text(), run))


def quoting(text: str, run: Run) -> str:
    """A page with the figures of a run between its marks."""
    return QUOTED.sub(lambda found: f"<!-- bench: {found[1]} -->\n{BLOCKS[found[1]](run)}\n<!-- end -->", text)


def _report(run: Run, chart: str) -> str:
    return PAGE.format(
        style=STYLE,
        machine=escape(_machine(run.latest["machine"])),
        bars=chart,
        table=_html(_bar_rows(run.latest)),
        times="".join(_times(name, ways) for name, ways in run.samples.items()),
        cpu=_html(_cpu_rows(run.samples)),
        programs=_html(_program_rows(run.latest["programs"])),
        scale=_html(_scale_rows(run.scale)) if run.scale else "",
    )


def _interval(bar: Mapping[str, Any]) -> Interval:
    widened = bar["bound"] + (-bar["control"] if bar["measure"] == RATE else bar["control"])
    low, high = bar["interval"]
    return Interval(bar["name"], bar["value"], low, high, bar["bound"], widened, bar["met"])


def _machine(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _bar_rows(results: Mapping[str, Any]) -> list[list[str]]:
    rows = [["what", "value", "interval", "bar", "control", ""]]
    for bar in results["bars"]:
        value = "–" if bar["value"] is None else f"{bar['value']:.2f}"
        interval = "{:.2f} … {:.2f}".format(*bar["interval"]) if bar["interval"] else "–"
        control = "–" if bar["control"] is None else f"± {bar['control']:.2f}"
        sign = "≥" if bar["measure"] == RATE else "≤"
        verdict = VERDICTS[bar["met"]] if bar["met"] is not None else bar["reason"]
        rows.append([bar["name"], value, interval, f"{sign} {bar['bound']}", control, verdict])
    return rows


def _time_rows(samples: Mapping[str, Any]) -> list[list[str]]:
    rows = [["operation", "way", "p50 µs", "p90", "p99", "p99.9", "CPU µs, whole machine"]]
    for scenario, ways in samples.items():
        for way, measures in ways.items():
            figures = [f"{statistics.median(measures[name]):.1f}" for name in ("p50", "p90", "p99", "p99.9", "CPU")]
            rows.append([scenario, way, *figures])
    return rows


def _cpu_rows(samples: Mapping[str, Any]) -> list[list[str]]:
    """CPU time of an operation: of the machine, of the proxy between client and server, of the agent."""
    rows = [["operation", "way", "whole machine, µs", "proxy, µs", "agent, µs"]]
    for scenario, ways in samples.items():
        for way, measures in ways.items():
            figures = [f"{statistics.median(measures[name]):.1f}" if name in measures else "–" for name in CPU]
            rows.append([scenario, way, *figures])
    return rows


def _program_rows(programs: Mapping[str, Any]) -> list[list[str]]:
    rows = [["operation", "program", "runs", "ns a run"]]
    for scenario, counts in programs.items():
        found = [
            [scenario, name, f"{item['runs']:g}", f"{item['ns']}"] for name, item in counts.items() if item["runs"]
        ]
        rows += found or [[scenario, "none", "0", "–"]]
    return rows


def _times(name: str, ways: Mapping[str, Any]) -> str:
    rows = [(way, *(statistics.median(measures[name]) for name in ("p50", "p99"))) for way, measures in ways.items()]
    return f"<h3>{escape(name)}</h3>{times(rows)}"


def _html(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}" for cell in head)]
    lines += ["".join(f"<td>{escape(cell.strip('*'))}" for cell in row) for row in body]
    return "<table>" + "".join(f"<tr>{line}" for line in lines) + "</table>"


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def _scale_rows(scale: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        ["Services", "endpoint change to first connection: p50 ms", "p99", "agent resident, MB", "connect p50 / direct"]
    ]
    for size, found in scale["curve"].items():
        change = found["change, ms"]
        rows.append(
            [size, str(change["p50"]), str(change["p99"]), str(found["agent, MB"]), str(found["connect / direct"])]
        )
    return rows


def _bars(part: str) -> Callable[[Run], str]:
    """The machine, and the table of bars, of one of the files."""

    def block(run: Run) -> str:
        found = getattr(run, part)
        return f"{_machine(found['machine'])}.\n\n{_markdown(_bar_rows(found))}" if found else NOTHING

    return block


def _summary(run: Run) -> str:
    """Every bar in few columns."""
    if not run.latest:
        return NOTHING
    return _markdown([[what, value, bound, verdict] for what, value, _, bound, _, verdict in _bar_rows(run.latest)])


BLOCKS: dict[str, Callable[[Run], str]] = {
    "summary": _summary,
    "bars": _bars("latest"),
    "times": lambda run: _markdown(_time_rows(run.samples)),
    "programs": lambda run: _markdown(_program_rows(run.latest.get("programs", {}))),
    "scale": _bars("scale"),
    "curve": lambda run: _markdown(_scale_rows(run.scale or {"curve": {}})),
}


if __name__ == "__main__":
    render()
