"""Tables whose pod has a workload, so that its flows are counted."""

from agent.ir.tables import PodRow, Slot, address_bytes
from support.datapath.decision_cases import OWN_NAMESPACE, Case, Rows, rows_for
from support.datapath.node import Node, Pod

WORKLOAD = 4711


def tables(case: Case, node: Node, pod: Pod, port: int | None = None, address: str | None = None) -> Rows:
    """The rows of a case; its first backend can be another."""
    rows = rows_for(case, pod.cgroup_id, node.levels)
    if case.mode is not None:
        rows.pods[pod.cgroup_id] = PodRow(OWN_NAMESPACE, case.mode, case.flags, WORKLOAD)
    first = rows.slots[16]
    there = address_bytes(address) if address else first.address
    rows.slots[16] = Slot(there, port or first.port, False, 0, first.threshold)
    return rows
