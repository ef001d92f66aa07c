"""Programs of a later version with a reason more, and policies: they use the tables of this one, which reads them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.ir.flow_tables import FlowKey, FlowSums
from agent.ir.tables import PodRow, Protocol, Reason, ServiceRow
from agent.kernel import abi, libbpf
from agent.kernel.bpffs import opened
from agent.kernel.programs import Pins
from support.datapath.decision_cases import OWN_NAMESPACE, REJECT_EMPTY, Case, rows_for
from support.datapath.node import SOURCES, VIP, VIP_PORT, Node, Pod, load

pytestmark = pytest.mark.bpf
LATER, POLICY, WORKLOAD, SERVICE = len(Reason), 0x123456, 77, 88
REFUSED = Case("refused", Reason.NO_BACKEND, actions=(REJECT_EMPTY, REJECT_EMPTY))
CHANGES = {
    "abi.h": ("\tWEFT_REASONS,\n", "\tWEFT_LATER,\n\tWEFT_REASONS,\n"),
    "decide.h": (
        "\treturn finish(decision, reason < WEFT_REASONS ? reason : WEFT_NO_BACKEND, VERDICT_REFUSE);\n",
        f"\tdecision->policy = {POLICY};\n\treturn finish(decision, WEFT_LATER, VERDICT_REFUSE);\n",
    ),
}


@pytest.fixture
def later(node: Node, tmp_path: Path) -> Iterator[None]:
    """The node's programs are those of such a version, and then those of this one again."""
    sources = tmp_path / "bpf"
    shutil.copytree(SOURCES, sources)
    for name, (before, after) in CHANGES.items():
        text = (sources / name).read_text()
        assert text.count(before) == 1
        (sources / name).write_text(text.replace(before, after))
    load(node.pins, node.kubepods, sources)
    yield
    load(node.pins, node.kubepods)


def counter(node: Node, number: int) -> int:
    with opened(Pins(node.pins).map_path("weft_counters")) as fd:
        parts = libbpf.lookup(fd, abi.U32.pack(number), 8 * node.kernel.cpus)
    return sum(memoryview(parts).cast("Q"))


@pytest.mark.compiles
@pytest.mark.parametrize(("protocol", "call"), [("TCP", "connect"), ("UDP", "sendto")])
def test_its_reason_and_policy_are_read(protocol: str, call: str, later: None, node: Node, pod: Pod) -> None:
    rows = rows_for(replace(REFUSED, protocol=protocol), pod.cgroup_id, node.levels)
    rows.pods[pod.cgroup_id] = PodRow(OWN_NAMESPACE, REFUSED.mode, workload_id=WORKLOAD)
    rows.services.update({index: ServiceRow(SERVICE) for index in rows.services})
    replace(rows, config=replace(rows.config, events=1000)).write(node.kernel)
    reader, before = node.kernel.events(), counter(node, LATER)
    reader.read()
    pod.call(call=call, family="4", protocol=protocol, address=VIP["4"], port=VIP_PORT)
    (event,) = reader.read()
    reader.close()
    key = FlowKey(WORKLOAD, SERVICE, LATER, 0, Protocol[protocol], POLICY)
    found = node.kernel.flows.load()
    node.kernel.flows.delete(found)
    assert (event.reason, event.reason.name, event.policy) == (LATER, f"REASON_{LATER}", POLICY)
    assert found[key] == FlowSums(opened=1)
    assert counter(node, LATER) - before == 1


def test_no_policy_is_told_by_this_version(node: Node, pod: Pod) -> None:
    rows = rows_for(REFUSED, pod.cgroup_id, node.levels)
    rows.pods[pod.cgroup_id] = PodRow(OWN_NAMESPACE, REFUSED.mode, workload_id=WORKLOAD)
    replace(rows, config=replace(rows.config, events=1000)).write(node.kernel)
    reader = node.kernel.events()
    reader.read()
    pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert [(event.reason, event.policy) for event in reader.read()] == [(Reason.NO_BACKEND, 0)]
    reader.close()
    found = node.kernel.flows.load()
    node.kernel.flows.delete(found)
    assert {key.policy for key in found} == {0}
