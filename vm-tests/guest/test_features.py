"""What this kernel has is what kernels.toml says, both ways; and weft's own programs load and run on it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kernels
import probes
import pytest

from agent.kernel import features
from agent.kernel.links import detach, ensure
from agent.kernel.loader import prepare
from agent.kernel.programs import GUARD, PROGRAMS, Pins

KERNEL = kernels.declared()[os.environ["WEFT_VM_KERNEL"]]
PROBES = probes.probes()


def test_every_feature_has_a_probe_and_a_line() -> None:
    assert PROBES.keys() == KERNEL.features.keys()


@pytest.mark.parametrize("name", PROBES)
def test_feature(name: str) -> None:
    check(name, KERNEL.features[name])


def check(name: str, expected: bool) -> None:
    """Fail when a feature is there and is not expected, and the other way round."""
    try:
        PROBES[name]()
    except Exception as error:
        if expected:
            raise
        print(f"not there: {error}")
    else:
        assert expected, f"kernels.toml says that {KERNEL.name} has no {name}"


def test_weft_finds_nothing_missing() -> None:
    assert [feature.name for feature in features.missing()] == []


@pytest.fixture(scope="module")
def pinned(installation: tuple[Path, Path]) -> Iterator[Path]:
    """The folder with weft's programs, loaded and pinned."""
    pins, cgroup = installation
    yield Pins(pins).programs / prepare(pins, cgroup).version
    detach(pins)


def test_programs_load_and_are_linked(installation: tuple[Path, Path], pinned: Path) -> None:
    pins, cgroup = installation
    assert (pinned / GUARD.name).exists()
    assert ensure(pins, cgroup, pinned.name) == [program.name for program in PROGRAMS]


def test_programs_are_as_large_as_recorded(pinned: Path) -> None:
    """The runner keeps the measurement, which `program_sizes.py --record-from` records."""
    command = [sys.executable, "tests/datapath/program_sizes.py", "--pinned", str(pinned)]
    measured = subprocess.run(command, capture_output=True, text=True, check=False)
    Path("/results/program-sizes.json").write_text(measured.stdout)
    assert measured.returncode == 0, measured.stderr
