"""Loading: what is pinned outlives the loader, is adopted by the next one, and is replaced under load."""

import json
import re
import shutil
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.ir.tables import Reason
from agent.kernel import abi
from agent.kernel.links import detach, ensure, list_links
from agent.kernel.loader import LoadError, prepare
from agent.kernel.programs import PROGRAMS, SOURCES, Pins
from support.bpftool import bpftool, map_ids
from support.datapath.decision_cases import Case, rows_for
from support.datapath.node import CGROUPS, VIP, VIP_PORT, Node, Pod, load
from support.privileges import of_container, with_only

pytestmark = pytest.mark.bpf


def test_every_program_is_linked_to_the_kubepods_cgroup(node: Node) -> None:
    links = list_links(node.pins)
    assert [link.program for link in links] == [program.name for program in PROGRAMS]
    assert {link.cgroup_id for link in links} == {node.kubepods.stat().st_ino}


def test_a_second_start_adopts_what_is_there(node: Node) -> None:
    before = list_links(node.pins)
    assert load(node.pins, node.kubepods) == []
    assert list_links(node.pins) == before


@pytest.mark.compiles
def test_other_sources_replace_the_programs_in_place_and_lose_nothing(node: Node, pod: Pod, tmp_path: Path) -> None:
    rows_for(Case("forward", Reason.FORWARDED), pod.cgroup_id, node.levels).write(node.kernel)
    before = list_links(node.pins)
    changed = tmp_path / "bpf"
    shutil.copytree(SOURCES, changed)
    with (changed / "weft.c").open("a") as source:
        source.write("/* another version */\n")
    pod.start(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, times=3000)
    load(node.pins, node.kubepods, changed)
    between = list_links(node.pins)
    load(node.pins, node.kubepods)
    answers = pod.finish()
    assert [link.link_id for link in between] == [link.link_id for link in before]
    assert not {link.program_id for link in between} & {link.program_id for link in before}
    assert len(list(Pins(node.pins).programs.iterdir())) == 1
    assert [answer for answer in answers if answer.get("peer") != [VIP["4"], VIP_PORT]] == []
    assert {tuple(answer["reached"]) for answer in answers} == {("10.0.1.1", 9090)}


@pytest.mark.compiles
def test_other_sources_are_loaded_with_the_capabilities_of_the_agents_container(node: Node, tmp_path: Path) -> None:
    """The maps are there already, as in an upgrade: the programs of both versions use the same ones."""
    maps = Pins(node.pins).map_path("weft_sockets").parent
    before = map_ids(maps)
    changed = tmp_path / "bpf"
    shutil.copytree(SOURCES, changed)
    with (changed / "weft.c").open("a") as source:
        source.write("/* another version */\n")
    command = [*with_only(of_container("agent")), sys.executable, "-m", "agent.kernel.loader", "--pins", str(node.pins)]
    command += ["--cgroup", str(node.kubepods), "--sources", str(changed)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    folder = Pins(node.pins).programs / json.loads(done.stdout)["version"]
    used = set(bpftool("prog", "show", "pinned", folder / PROGRAMS[0].name)["map_ids"])
    assert map_ids(maps) == before
    assert used & set(before.values())
    assert used <= {*before.values(), *map_ids(Pins(node.pins).tables).values()}
    load(node.pins, node.kubepods)


@pytest.mark.compiles
def test_two_starts_at_once_prepare_one_datapath(node: Node) -> None:
    pins, cgroup = node.pins / "twice", CGROUPS / node.name / "twice"
    cgroup.mkdir()
    with ThreadPoolExecutor() as starts:
        versions = set(starts.map(lambda _: prepare(pins, cgroup).version, range(2)))
    assert list_links(pins) == []
    assert ensure(pins, cgroup, versions.pop()) == [program.name for program in PROGRAMS]
    assert len(list(Pins(pins).programs.iterdir())) == 1
    assert [link.program for link in list_links(pins)] == [program.name for program in PROGRAMS]
    attached = bpftool("cgroup", "show", cgroup)
    assert len(attached) == len(PROGRAMS)
    detach(pins)
    assert bpftool("cgroup", "show", cgroup) == []
    pins.rmdir()
    cgroup.rmdir()


@pytest.mark.compiles
def test_what_cannot_be_is_said_in_one_sentence(node: Node, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="is not in a bpf file system"):
        load(tmp_path, node.kubepods)
    with pytest.raises(LoadError, match="is not a folder of cgroup v2"):
        load(node.pins, tmp_path)
    broken = tmp_path / "bpf"
    shutil.copytree(SOURCES, broken)
    (broken / "select.h").write_text("#error no\n")
    with pytest.raises(LoadError, match=r"(?s)do not compile: .*: error: no\nThe compiler's output:\n.*  #error no\n"):
        load(node.pins, node.kubepods, broken)


@pytest.mark.compiles
def test_a_program_that_the_verifier_refuses_is_named_with_its_reason(node: Node, tmp_path: Path) -> None:
    """Made by a call of a helper that this hook does not have."""
    lacking = tmp_path / "bpf"
    shutil.copytree(SOURCES, lacking)
    text = (lacking / "weft.c").read_text()
    line = "\tu32 op = ctx->op;\n"
    (lacking / "weft.c").write_text(text.replace(line, f"{line}\n\tbpf_set_retval(0);"))
    before = list_links(node.pins)
    with pytest.raises(LoadError, match=r"the kernel refused weft_sock_ops: .*bpf_set_retval#187") as refusal:
        load(node.pins, node.kubepods, lacking)
    reason, title, *verifier = str(refusal.value).splitlines()
    assert (title, reason.endswith(verifier[-1].strip())) == ("The verifier's last lines:", True)
    assert "call bpf_set_retval#187" in verifier[-2]
    assert list_links(node.pins) == before


@pytest.mark.compiles
def test_links_of_a_cgroup_made_anew_are_made_anew(node: Node) -> None:
    """The kubelet can remove and make its folder again; a link to the former one runs nothing."""
    pins, cgroup = node.pins / "anew", CGROUPS / node.name / "anew"
    pins.mkdir()
    cgroup.mkdir()
    version = prepare(pins, cgroup).version
    everything = [program.name for program in PROGRAMS]
    assert ensure(pins, cgroup, version) == everything
    cgroup.rmdir()
    assert ensure(pins, cgroup, version) is None
    cgroup.mkdir()
    assert ensure(pins, cgroup, version) == everything
    assert {link.cgroup_id for link in list_links(pins)} == {cgroup.stat().st_ino}
    assert ensure(pins, cgroup, version) == []


@pytest.mark.compiles
def test_a_link_that_somebody_took_away_is_made_anew(node: Node) -> None:
    pins, cgroup = node.pins / "taken", CGROUPS / node.name / "taken"
    pins.mkdir()
    cgroup.mkdir()
    version = prepare(pins, cgroup).version
    ensure(pins, cgroup, version)
    (Pins(pins).links / "weft_connect4").unlink()
    # The kernel frees a link some time after its last reference is gone.
    deadline = time.monotonic() + 60
    while len(bpftool("cgroup", "show", cgroup)) != len(PROGRAMS) - 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ensure(pins, cgroup, version) == ["weft_connect4"]
    assert len(bpftool("cgroup", "show", cgroup)) == len(PROGRAMS)
    shutil.rmtree(pins)
    cgroup.rmdir()


@pytest.mark.parametrize("layout", [*abi.TABLES, *abi.SOCKET_MAPS], ids=lambda layout: layout.name)
def test_layouts_are_those_of_the_pinned_maps(layout: abi.Layout, node: Node) -> None:
    path = Pins(node.pins).map_path(layout.name)
    found = bpftool("map", "show", "pinned", path)
    capacity = found["max_entries"] if layout.capacity else 0
    assert (found["bytes_key"], found["bytes_value"], capacity) == (
        layout.key.size,
        layout.value.size,
        layout.capacity,
    )


def flatten(types: dict[int, dict], number: int, offset: int = 0) -> list[tuple[int, int]]:
    """Offset and size of each integer of a BTF type, without what is named as padding."""
    kind = types[number]
    if kind["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
        return flatten(types, kind["type_id"], offset)
    if kind["kind"] == "ARRAY":
        element = flatten(types, kind["type_id"])
        width = sum(size for _, size in element)
        if types[kind["type_id"]]["kind"] == "STRUCT":
            return [(offset + n * width + at, size) for n in range(kind["nr_elems"]) for at, size in element]
        return [(offset, kind["nr_elems"] * width)]
    if kind["kind"] == "STRUCT":
        fields = [field for field in kind["members"] if field["name"] not in ("spare", "reserved")]
        parts = (flatten(types, field["type_id"], offset + field["bits_offset"] // 8) for field in fields)
        return [part for found in parts for part in found]
    return [(offset, kind["size"])]


def fields_of(layout: struct.Struct) -> list[tuple[int, int]]:
    """The same of a struct format, where what is repeated is an array."""
    found, offset = [], 0
    for count, letter in re.findall(r"(\d*)([a-zA-Z])", layout.format):
        width = struct.calcsize(f"={letter}")
        if letter == "x":
            offset += int(count or 1)
            continue
        found.append((offset, width * int(count or 1)))
        offset += found[-1][1]
    return found


@pytest.mark.parametrize("layout", [*abi.TABLES, *abi.SOCKET_MAPS], ids=lambda layout: layout.name)
def test_fields_are_where_btf_says(layout: abi.Layout, node: Node) -> None:
    path = Pins(node.pins).map_path(layout.name)
    ends = [entry["id"] for entry in bpftool("btf", "dump", "map", "pinned", path, "kv")["types"]]
    btf = bpftool("btf", "dump", "id", str(bpftool("map", "show", "pinned", path)["btf_id"]))
    types = {entry["id"]: entry for entry in btf["types"]}
    assert flatten(types, ends[0]) == fields_of(layout.key)
    assert flatten(types, ends[-1]) == fields_of(layout.value)
