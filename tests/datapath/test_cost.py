"""An established connection costs nothing: none of the programs runs for its packets, as the kernel counts runs."""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from agent.ir.tables import Reason
from agent.kernel.links import list_links
from support.datapath.decision_cases import Case, rows_for
from support.datapath.flows import tables
from support.datapath.node import VIP, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
RUN_TIME = 0  # enum bpf_stats_type


@pytest.fixture
def counting() -> Iterator[None]:
    """The kernel counts runs of programs while a descriptor is open (BPF_ENABLE_STATS, kernel 5.8)."""
    fd = ctypes.CDLL("libbpf.so.1").bpf_enable_stats(RUN_TIME)
    assert fd >= 0
    yield
    os.close(fd)


def runs(node: Node) -> dict[str, int]:
    """How often each of our programs has run."""
    shown = subprocess.run(["bpftool", "-j", "prog", "show"], check=True, capture_output=True).stdout
    counts = {program["id"]: program.get("run_cnt", 0) for program in json.loads(shown)}
    return {link.program: counts[link.program_id] for link in list_links(node.pins)}


def test_no_program_runs_per_packet(node: Node, counting: None, exchange: int) -> None:
    pod = node.new_pod()
    tables(Case("forward", Reason.FORWARDED), node, pod, exchange).write(node.kernel)
    call = {"family": "4", "protocol": "TCP", "address": VIP["4"], "port": VIP_PORT, "keep": "one"}
    before = runs(node)
    pod.call(call="assign", **call)
    connected = runs(node)
    assert {"weft_connect4", "weft_getpeername4", "weft_sock_ops"} <= {
        name for name, count in connected.items() if count > before[name]
    }
    answer = pod.call(call="transfer", **call, send=20_000_000, receive=20_000_000, ends="client")
    assert answer["received"] == 20_000_000
    assert runs(node) == connected
    pod.close()


def test_a_pod_outside_the_mesh_runs_connect_once(node: Node, pod: Pod, counting: None) -> None:
    rows_for(Case("none", Reason.NOT_ENROLLED, mode=None), pod.cgroup_id, node.levels).write(node.kernel)
    before = runs(node)
    pod.call(call="probe", family="4", protocol="UDP", destinations=[("4", "UDP", VIP["4"], VIP_PORT)] * 10)
    after = runs(node)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"weft_connect4": 10}
