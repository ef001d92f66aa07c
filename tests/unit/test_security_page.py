"""docs/security.md: shared resources name the tests of their bounds; profiles of containers are as in the manifests."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "security.md").read_text()
ROWS = [
    line.strip("|").split(" | ")
    for line in PAGE[PAGE.index("| resource | charged") :].splitlines()
    if "---" not in line
]
COLUMNS, *RESOURCES = ROWS


def test_the_table_has_the_columns_that_each_row_fills() -> None:
    assert [name.strip() for name in COLUMNS][-2:] == ["reported by", "tested by"]
    assert len(RESOURCES) > 30
    assert [row[0] for row in RESOURCES if len(row) != len(COLUMNS)] == []


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: row[0].strip())
def test_a_row_names_tests_that_are_there(row: list[str]) -> None:
    named = re.findall(r"`([^`]+)`", row[-1])
    assert [path for path in named if not (PROJECT / path).exists()] == []
    assert named or "none" in row[-1]


@pytest.mark.parametrize(
    "row", [row for row in RESOURCES if row[2].startswith("budget")], ids=lambda row: row[0].strip()
)
def test_each_budget_has_a_test(row: list[str]) -> None:
    assert "`tests/" in row[-1]


CONTAINERS = {"agent": "agent", "network namespace helper": "netns", "Envoy": "envoy", "controller": "controller"}


def security_contexts() -> dict[str, Any]:
    """By name: those of the containers of daemonset/base, which overlays do not change."""
    documents = [
        document
        for path in sorted((PROJECT / "daemonset/base").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    pods = [item["spec"]["template"]["spec"] for item in documents if "template" in item.get("spec", {})]
    containers = [item for pod in pods for item in (*pod["containers"], *pod.get("initContainers", []))]
    return {container["name"]: container["securityContext"] for container in containers}


def test_the_profiles_of_the_containers_are_those_of_the_manifests() -> None:
    table = PAGE[PAGE.index("| container | `seccompProfile`") :].split("\n\n")[0]
    stated = {}
    for row in table.splitlines()[2:]:
        names, seccomp, apparmor = row.strip("| ").split(" | ")
        for name in [names] if names in CONTAINERS else names.split(", "):
            stated[CONTAINERS[name]] = (seccomp.split("`")[1], apparmor.split("`")[1] if "`" in apparmor[:1] else None)
    assert stated == {
        name: (context["seccompProfile"]["type"], context.get("appArmorProfile", {}).get("type"))
        for name, context in security_contexts().items()
    }
