"""The programs by clang and libbpf's maps (bpf/libbpf/maps.h) rather than by BCC: the same programs and tables."""

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel import abi, bpffs
from agent.kernel.loader import prepare
from agent.kernel.programs import NETWORK_PROGRAMS, PROGRAMS, SOURCES, Pins
from agent.lab.paths import cgroup2_mount
from support.bpftool import bpftool

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads BPF programs"),
]
HEADERS = f"-I/usr/include/{platform.machine()}-linux-gnu"
SAME = ("type", "bytes_key", "bytes_value", "max_entries", "flags")


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bpffs."""
    mounted = tmp_path_factory.mktemp("libbpf") / "bpf"
    bpffs.mount(mounted)
    yield mounted
    subprocess.run(["umount", mounted], check=True)


@pytest.fixture(scope="module")
def loaded(pins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of bpffs with what clang compiled and libbpf loaded, by the sections that the programs are in."""
    built, folder = tmp_path_factory.mktemp("clang") / "weft.o", pins / "clang"
    compiler = ("clang", "--target=bpf", "-O2", "-g", "-Wall", "-Werror", HEADERS)
    variant = ("-include", SOURCES / "libbpf/maps.h", "-c", SOURCES / "weft.c", "-o", built)
    subprocess.run([*compiler, *variant], check=True)
    loading = subprocess.run(["bpftool", "prog", "loadall", built, folder], capture_output=True, text=True, check=False)
    assert loading.returncode == 0, loading.stderr[-3000:]
    return folder


def test_every_program_loads_for_its_hook(loaded: Path) -> None:
    assert {path.name for path in loaded.iterdir()} == {program.name for program in (*PROGRAMS, *NETWORK_PROGRAMS)}
    types = {path.name: bpftool("prog", "show", "pinned", path)["type"] for path in loaded.iterdir()}
    assert {name: kind for name, kind in types.items() if kind != "cgroup_sock_addr"} == {
        "weft_sock_ops": "sock_ops",
        "weft_guard": "sk_lookup",
        "weft_authorize": "sk_lookup",
        "weft_audit": "sk_lookup",
    }


def test_maps_are_those_that_bcc_makes(loaded: Path, pins: Path) -> None:
    numbers = {number for path in loaded.iterdir() for number in bpftool("prog", "show", "pinned", path)["map_ids"]}
    found = {shown["name"]: shown for shown in (bpftool("map", "show", "id", str(number)) for number in numbers)}
    prepare(pins / "bcc", cgroup2_mount())
    made = {name[:15]: bpftool("map", "show", "pinned", Pins(pins / "bcc").map_path(name)) for name in abi.LAYOUTS}
    assert {name: [shown.get(field) for field in SAME] for name, shown in found.items()} == {
        name: [shown.get(field) for field in SAME] for name, shown in made.items()
    }
