"""`docs/reference.md` names every metric, command, label and annotation that the code has."""

import ast
import re
from pathlib import Path

from agent.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference.md").read_text()
METRIC_MAKER = re.compile(r"Gauge|Counter|Histogram|Info|\w+MetricFamily|register\w*|_counter|_histogram")


def metrics() -> set[str]:
    """The names that the code gives to metrics: constants that are the first argument of what makes a metric."""
    calls = (
        node
        for path in (ROOT / "agent").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and node.args
    )
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
        and METRIC_MAKER.fullmatch(getattr(call.func, "id", getattr(call.func, "attr", "")))
        and call.args[0].value.startswith(("weft_", "istio_"))
    }


def test_every_metric_is_named() -> None:
    assert len(metrics()) > 20
    assert {name for name in metrics() if f"`{name}" not in PAGE} == set()


def test_every_command_is_named() -> None:
    assert {name for name in COMMANDS if f"\nweft {name}" not in PAGE} == set()


def test_every_label_and_annotation_is_named() -> None:
    names = set(re.findall(r"weft\.dev/[a-z0-9-]+", (ROOT / "daemonset/base/admission.yaml").read_text()))
    assert len(names) >= 5
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_every_resource_with_a_budget_is_named() -> None:
    sources = "".join(path.read_text() for path in sorted((ROOT / "agent").rglob("*.py")))
    resources = set(re.findall(r'(?:Budget\(|^RESOURCE = )"([a-z]+)"', sources, re.MULTILINE))
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `weft_budget_used"))
    assert resources >= {"slots", "frontends", "connections"}
    assert {name for name in resources if f"`{name}`" not in row} == set()
