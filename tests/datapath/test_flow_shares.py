"""The table of flows is shared: a workload that dials thousands of Services leaves rows to others."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.ir.flow_tables import OVERFLOW_ROW, FlowKey, FlowSums
from agent.ir.tables import (
    ANY_NAMESPACE,
    Action,
    FrontendAction,
    FrontendKey,
    Mode,
    PodRow,
    Protocol,
    Reason,
    ServiceRow,
)
from agent.ir.tables import address_bytes as packed
from agent.kernel import abi
from agent.kernel.bpffs import opened
from agent.kernel.libbpf import lookup
from agent.kernel.programs import Pins
from support.datapath.decision_cases import OWN_NAMESPACE, Case, Rows, rows_for
from support.datapath.node import VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
SERVICES, BASE, INDEX, FIRST_ID = abi.FLOWS + 1000, 16, 1000, 50_000
GREEDY, SECOND, NEWCOMER = 901, 902, 903


def address(number: int) -> str:
    return f"10.97.{number >> 8}.{number & 255}"


@pytest.fixture
def pods(node: Node, pod: Pod) -> Iterator[dict[int, Pod]]:
    """A pod of each workload, more Services than there are rows, and a table without rows but the overflow row."""
    pods = {GREEDY: pod, SECOND: node.new_pod(), NEWCOMER: node.new_pod()}
    rows = services(rows_for(Case("", Reason.FORWARDED), pod.cgroup_id, node.levels))
    rows.pods.update(
        {pods[workload].cgroup_id: PodRow(OWN_NAMESPACE, Mode.L4, workload_id=workload) for workload in pods}
    )
    rows.write(node.kernel)
    node.kernel.flows.delete(node.kernel.flows.load())
    node.kernel.flows.make_overflow_row()
    yield pods
    node.kernel.flows.delete(node.kernel.flows.load())
    for workload in (SECOND, NEWCOMER):
        pods[workload].close()


def services(rows: Rows) -> Rows:
    """Services with an address each, all with the first backend."""
    numbers = range(SERVICES)
    return replace(
        rows,
        frontends={
            FrontendKey(ANY_NAMESPACE, packed(address(number)), VIP_PORT, Protocol.UDP): INDEX + number
            for number in numbers
        },
        actions={2 * (INDEX + number): FrontendAction(Action.FORWARD, BASE, 1) for number in numbers},
        services={INDEX + number: ServiceRow(FIRST_ID + number) for number in numbers},
    )


def dial(pod: Pod, numbers: range) -> None:
    destinations = [("4", "UDP", address(number), VIP_PORT) for number in numbers]
    (answer,) = pod.calls(call="probe", family="4", protocol="UDP", destinations=destinations)
    assert len(answer["went"]) == len(numbers)


def rows_of(node: Node, workload: int) -> dict[FlowKey, FlowSums]:
    return {key: sums for key, sums in node.kernel.flows.load().items() if key.workload_id == workload}


def counted(node: Node, workload: int) -> int:
    """What the programs think that a workload has."""
    with opened(Pins(node.pins).map_path("weft_flow_counts")) as table:
        return int(abi.U64.unpack(lookup(table, abi.U64.pack(workload), abi.U64.size))[0])


def test_a_workload_that_dials_thousands_of_services_leaves_rows_to_others(node: Node, pods: dict[int, Pod]) -> None:
    """It has as many rows as are free, the next one as many as are free then, and a newcomer has all that it needs."""
    before = node.kernel.counters()[Reason.FLOW_LOST]
    for workload in (GREEDY, SECOND):
        dial(pods[workload], range(SERVICES))
    dial(pods[NEWCOMER], range(10))
    found = {workload: len(rows_of(node, workload)) for workload in pods}
    assert found[GREEDY] == pytest.approx(abi.FLOWS / 2, abs=2)
    assert found[SECOND] == pytest.approx(abi.FLOWS / 4, abs=2)
    assert found[NEWCOMER] == 10
    assert {workload: counted(node, workload) for workload in pods} == found
    lost = node.kernel.counters()[Reason.FLOW_LOST] - before
    assert lost == 2 * SERVICES - found[GREEDY] - found[SECOND]
    assert node.kernel.flows.load()[OVERFLOW_ROW].opened == lost


def test_rows_that_the_agent_deletes_are_free_again(node: Node, pods: dict[int, Pod]) -> None:
    dial(pods[GREEDY], range(SERVICES))
    node.kernel.flows.delete(rows_of(node, GREEDY))
    with pytest.raises(FileNotFoundError):
        counted(node, GREEDY)
    dial(pods[SECOND], range(SERVICES))
    assert len(rows_of(node, SECOND)) == pytest.approx(abi.FLOWS / 2, abs=2)
    assert counted(node, abi.ALL_WORKLOADS) == len(node.kernel.flows.load())
