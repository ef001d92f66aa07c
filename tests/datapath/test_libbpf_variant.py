"""The programs by clang and libbpf's maps (bpf/libbpf/maps.h) rather than by BCC: the same programs and tables."""

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datapath_node import SOURCES, Node

from agent.kernel import abi
from agent.kernel.programs import GUARD, PROGRAMS, Pins

pytestmark = pytest.mark.bpf
HEADERS = f"-I/usr/include/{platform.machine()}-linux-gnu"
SAME = ("type", "bytes_key", "bytes_value", "max_entries", "flags")


def bpftool(*command: str | Path) -> Any:
    return json.loads(subprocess.run(["bpftool", "-j", *command], check=True, capture_output=True).stdout or "null")


@pytest.fixture(scope="module")
def loaded(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of bpffs with what clang compiled, loaded by libbpf: BPF_F_* contexts are what its sections say."""
    built, pins = tmp_path_factory.mktemp("clang") / "weft.o", node.pins / "clang"
    compiler = ("clang", "--target=bpf", "-O2", "-g", "-Wall", "-Werror", HEADERS)
    variant = ("-include", SOURCES / "libbpf/maps.h", "-c", SOURCES / "weft.c", "-o", built)
    subprocess.run([*compiler, *variant], check=True)
    loading = subprocess.run(["bpftool", "prog", "loadall", built, pins], capture_output=True, text=True, check=False)
    assert loading.returncode == 0, loading.stderr[-3000:]
    yield pins
    shutil.rmtree(pins)


def test_every_program_loads_for_its_hook(loaded: Path) -> None:
    assert {path.name for path in loaded.iterdir()} == {program.name for program in (*PROGRAMS, GUARD)}
    types = {path.name: bpftool("prog", "show", "pinned", path)["type"] for path in loaded.iterdir()}
    assert {name: kind for name, kind in types.items() if kind != "cgroup_sock_addr"} == {
        "weft_sock_ops": "sock_ops",
        "weft_guard": "sk_lookup",
    }


def test_maps_are_those_that_bcc_makes(loaded: Path, node: Node) -> None:
    numbers = {number for path in loaded.iterdir() for number in bpftool("prog", "show", "pinned", path)["map_ids"]}
    found = {shown["name"]: shown for shown in (bpftool("map", "show", "id", str(number)) for number in numbers)}
    made = {name[:15]: bpftool("map", "show", "pinned", Pins(node.pins).map_path(name)) for name in abi.LAYOUTS}
    assert {name: [shown.get(field) for field in SAME] for name, shown in found.items()} == {
        name: [shown.get(field) for field in SAME] for name, shown in made.items()
    }
