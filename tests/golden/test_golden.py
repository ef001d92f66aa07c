"""Each folder is a case: `in.yaml` becomes `plan.yaml`, and `xds.yaml` where Envoy is told something.

`WEFT_GOLDEN=rewrite pytest tests/golden` writes what is so.
"""

import os
from pathlib import Path
from typing import Any

import yaml

from agent.ir.addresses import Addresses
from agent.ir.resources import ResourceType
from agent.waypoint.encode import encode
from support.golden import resources, translated

FILES = {"in.yaml", "plan.yaml", "xds.yaml"}


class Plain(yaml.SafeDumper):
    """YAML without anchors: what is said twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(plan: dict[str, Any]) -> str:
    """The plan as it is stored."""
    return yaml.dump(plan, Dumper=Plain, sort_keys=False, width=118, allow_unicode=True)


def compare(stored: Path, found: str) -> None:
    """What was found is what is stored; or is stored now, when that is asked for."""
    if os.environ.get("WEFT_GOLDEN") == "rewrite":
        stored.write_text(found)
    assert stored.exists(), f"there is no {stored}: WEFT_GOLDEN=rewrite writes it"
    assert found == stored.read_text()


def test_the_plan_is_as_written(case: Path) -> None:
    compare(case / "plan.yaml", text(translated(case)))


def test_envoy_is_told_what_is_written(case: Path) -> None:
    """Every resource, and each can be encoded for Envoy."""
    found = resources(case)
    for name, resource in found.items():
        encode(name, resource, Addresses("10.244.0.2"), 20000)
    by_kind: dict[str, dict[str, Any]] = {}
    for name, resource in sorted(found.items()):
        by_kind.setdefault(name.kind.name.lower(), {})[name.name] = resource
    if any(name.kind is not ResourceType.EXTENSION for name in found):
        compare(case / "xds.yaml", text(by_kind))
    else:
        assert not (case / "xds.yaml").exists()


def test_no_file_is_unused(case: Path) -> None:
    assert {path.name for path in case.iterdir()} <= FILES
    assert (case / "in.yaml").exists()
