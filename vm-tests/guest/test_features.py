"""What this kernel has is what kernels.toml says, both ways; and weft's own programs load and run on it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kernels
import probes
import pytest

from agent.kernel import bpffs, features
from agent.kernel.links import detach, ensure
from agent.kernel.loader import prepare
from agent.kernel.programs import GUARD, PROGRAMS, SOURCES, Pins

KERNEL = kernels.declared()[os.environ["WEFT_VM_KERNEL"]]
PROBES = probes.probes()
# A hook in which older kernels lack the helper.
LATER = "helper: get_current_ancestor_cgroup_id in sock_ops"


def test_every_feature_has_a_probe_and_a_line() -> None:
    assert PROBES.keys() == KERNEL.features.keys()


@pytest.mark.parametrize("name", PROBES)
def test_feature(name: str) -> None:
    try:
        PROBES[name]()
    except Exception as error:
        # A feature of no name in kernels.toml is reported by the test above.
        if KERNEL.features.get(name, False):
            raise
        print(f"not there: {error}")
    else:
        assert KERNEL.features.get(name, True), f"kernels.toml says that {KERNEL.name} has no {name}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for pins, and a cgroup."""
    mounted, cgroup = tmp_path / "bpf", Path("/sys/fs/cgroup/kubepods")
    bpffs.mount(mounted)
    cgroup.mkdir()
    yield mounted / "weft", cgroup
    cgroup.rmdir()
    subprocess.run(["umount", mounted], check=True)


def later_helper(folder: Path) -> Path:
    """weft's sources with a call of `LATER`."""
    shutil.copytree(SOURCES, folder)
    text = (folder / "weft.c").read_text()
    line = "\tu32 op = ctx->op;\n"
    assert line in text
    (folder / "weft.c").write_text(text.replace(line, f"{line}\n\tbpf_get_current_ancestor_cgroup_id(1);"))
    return folder


def run_loader(pins: Path, cgroup: Path, sources: Path) -> subprocess.CompletedProcess[str]:
    """The loader itself, whose parent would make one sentence of what it prints."""
    places = ["--pins", str(pins), "--cgroup", str(cgroup), "--sources", str(sources)]
    command = [sys.executable, "-m", "agent.kernel.loader", *places]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_weft_finds_nothing_missing() -> None:
    assert [feature.name for feature in features.missing()] == []


def test_programs_load_and_are_linked(place: tuple[Path, Path]) -> None:
    pins, cgroup = place
    version = prepare(pins, cgroup).version
    assert (Pins(pins).programs / version / GUARD.name).exists()
    assert ensure(pins, cgroup, version) == [program.name for program in PROGRAMS]
    detach(pins)


def test_the_verifiers_words_for_a_missing_helper_are_shown(place: tuple[Path, Path], tmp_path: Path) -> None:
    loader = run_loader(*place, later_helper(tmp_path / "sources"))
    assert (loader.returncode == 0) == KERNEL.features[LATER]
    assert ("get_current_ancestor_cgroup_id#123" in loader.stderr) == (not KERNEL.features[LATER])
