"""The image has what was tested: its wheels are those of requirements.lock, without the tools."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(file: str) -> set[str]:
    return set(re.findall(r"^(\S+==\S+)", (ROOT / file).read_text(), re.MULTILINE))


def test_the_image_s_wheels_are_those_that_are_tested() -> None:
    image = pins("daemonset/requirements.lock")
    assert image < pins("requirements.lock")
    assert not {name.partition("==")[0] for name in image} & {"pytest", "mypy", "ruff", "hatchling"}
