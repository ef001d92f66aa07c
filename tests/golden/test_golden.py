"""Each folder is a case: `in.yaml` becomes `plan.yaml`. `WEFT_GOLDEN=rewrite pytest tests/golden` writes what is so."""

import os
from pathlib import Path
from typing import Any

import yaml
from golden_plan import translated

FILES = {"in.yaml", "plan.yaml"}


def text(plan: dict[str, Any]) -> str:
    """The plan as it is stored."""
    return yaml.safe_dump(plan, sort_keys=False, width=118, allow_unicode=True)


def test_the_plan_is_as_written(case: Path) -> None:
    found = text(translated(case))
    stored = case / "plan.yaml"
    if os.environ.get("WEFT_GOLDEN") == "rewrite":
        stored.write_text(found)
    assert stored.exists(), f"{case.name} has no plan.yaml: WEFT_GOLDEN=rewrite writes it"
    assert found == stored.read_text()


def test_no_file_is_unused(case: Path) -> None:
    assert {path.name for path in case.iterdir()} <= FILES
    assert (case / "in.yaml").exists()
