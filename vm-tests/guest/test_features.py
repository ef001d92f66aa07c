"""What this kernel has is what kernels.toml says, both ways; and weft's own programs load and run on it."""

import os
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


def test_programs_load_and_are_linked(place: tuple[Path, Path]) -> None:
    pins, cgroup = place
    version = prepare(pins, cgroup).version
    assert (Pins(pins).programs / version / GUARD.name).exists()
    assert ensure(pins, cgroup, version) == [program.name for program in PROGRAMS]
    detach(pins)
