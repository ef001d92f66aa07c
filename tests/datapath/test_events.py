"""Events: single decisions as the kernel tells them, and how little it tells in a storm."""

import time
from collections.abc import Iterator
from dataclasses import replace
from errno import ECONNREFUSED, EPERM

import pytest

from agent.ir.flow_tables import Event
from agent.ir.tables import RATE_WINDOW_SECONDS, UNSPECIFIED, PodRow, Protocol, Reason, Slot, address_bytes
from agent.kernel.flows import EventReader
from support.datapath.decision_cases import OWN_NAMESPACE, REJECT_EMPTY, Case, Rows, rows_for
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, WAYPOINT, WAYPOINT_PORT, Node, Pod

pytestmark = pytest.mark.bpf
FORWARD = Case("forward", Reason.FORWARDED)
REFUSE = Case("refuse", Reason.NO_BACKEND, actions=(REJECT_EMPTY, REJECT_EMPTY))
PLENTY = 1000
STORM = 30_000
PATIENCE = 60


@pytest.fixture
def events(node: Node) -> Iterator[EventReader]:
    """What is told from now on."""
    reader = node.kernel.events()
    reader.read()
    yield reader
    reader.close()


def tables(case: Case, node: Node, pod: Pod, allowance: int = PLENTY) -> Rows:
    rows = rows_for(case, pod.cgroup_id, node.levels)
    if case.mode is not None:
        rows.pods[pod.cgroup_id] = PodRow(OWN_NAMESPACE, case.mode, workload_id=1)
    return replace(rows, config=replace(rows.config, events=allowance))


def without_time(found: list[Event], pod: Pod) -> list[tuple]:
    """Events without their time, which has to grow."""
    assert [event.time for event in found] == sorted(event.time for event in found)
    assert all(0 < event.time <= time.monotonic_ns() for event in found)
    assert {event.cgroup_id for event in found} <= {pod.cgroup_id}
    assert {event.service_id for event in found} == {0} or len({event.service_id for event in found}) == 1
    return [
        (event.reason, event.error, event.original, event.original_port, event.backend, event.backend_port)
        for event in found
    ]


@pytest.mark.parametrize("family", ["4", "6", "mapped"])
@pytest.mark.parametrize(("protocol", "call"), [("TCP", "connect"), ("UDP", "connect"), ("UDP", "sendto")])
def test_a_decision_is_told(family: str, protocol: str, call: str, node: Node, pod: Pod, events) -> None:
    ip = "6" if family == "6" else "4"
    address = f"::ffff:{VIP['4']}" if family == "mapped" else VIP[ip]
    call_arguments = {"call": call, "family": family, "protocol": protocol, "address": address, "port": VIP_PORT}
    vip, backend = address_bytes(VIP[ip]), address_bytes(BACKENDS[ip][0])
    for case, end in (
        (FORWARD, (Reason.FORWARDED, 0, vip, VIP_PORT, backend, BACKEND_PORT)),
        (REFUSE, (Reason.NO_BACKEND, 0, vip, VIP_PORT, UNSPECIFIED, 0)),
    ):
        rows = tables(replace(case, family=family, protocol=protocol), node, pod)
        rows.write(node.kernel)
        pod.call(**call_arguments)
        found = events.read()
        assert without_time(found, pod) == [end]
        assert found[0].protocol == Protocol[protocol]
        assert found[0].service_id == next(iter(rows.services.values())).service_id


def test_who_dials_the_waypoint_is_told(node: Node, pod: Pod, events) -> None:
    tables(FORWARD, node, pod).write(node.kernel)
    pod.call(call="connect", family="4", protocol="TCP", address=WAYPOINT["4"], port=WAYPOINT_PORT)
    (event,) = events.read()
    seen = event.reason, event.cgroup_id, event.original
    assert seen == (Reason.WAYPOINT_DIALLED, pod.cgroup_id, address_bytes(WAYPOINT["4"]))


def test_a_failure_is_told_with_its_errno(node: Node, pod: Pod, events) -> None:
    rows = tables(FORWARD, node, pod)
    rows.slots[16] = Slot(rows.slots[16].address, 9, False, 0, 1 << 32)
    rows.write(node.kernel)
    pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    where = (address_bytes(VIP["4"]), VIP_PORT, address_bytes(BACKENDS["4"][0]), 9)
    assert without_time(events.read(), pod) == [(Reason.FORWARDED, 0, *where), (Reason.FAILED, ECONNREFUSED, *where)]


def test_who_is_not_in_the_mesh_is_not_told_of(node: Node, pod: Pod, events) -> None:
    for mode in (None, FORWARD.mode.NONE):
        tables(replace(FORWARD, mode=mode), node, pod).write(node.kernel)
        pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert events.read() == []


def test_a_storm_is_told_in_part_and_what_is_not_is_counted(node: Node, pod: Pod, events) -> None:
    """What goes on cannot drown what ends: each has an allowance of its own."""
    tables(replace(FORWARD, protocol="UDP"), node, pod, allowance=1).write(node.kernel)
    time.sleep(2 * RATE_WINDOW_SECONDS)
    before = node.kernel.counters()
    call = {"call": "assign", "family": "4", "protocol": "UDP", "address": VIP["4"], "port": VIP_PORT}
    pod.calls(**call, times=2000)
    tables(replace(REFUSE, protocol="UDP"), node, pod, allowance=1).write(node.kernel)
    pod.calls(**call)
    after = node.kernel.counters()
    found = events.read()
    lost = after[Reason.EVENT_LOST] - before[Reason.EVENT_LOST]
    assert len(found) + lost == 2001
    assert lost > 1000
    assert [event.reason for event in found].count(Reason.NO_BACKEND) == 1


@pytest.fixture
def storms(node: Node) -> Iterator[list[Pod]]:
    """Two pods beside."""
    pods = [node.new_pod(), node.new_pod()]
    yield pods
    for pod in pods:
        pod.close()


def until_lost(node: Node, before: int) -> None:
    """Wait until a storm has exhausted every budget that it can."""
    deadline = time.monotonic() + PATIENCE
    while node.kernel.counters()[Reason.EVENT_LOST] < before + PLENTY:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_pod_s_refusals_are_told_whatever_others_are_refused(
    is_known: bool, node: Node, pod: Pod, storms: list[Pod], events
) -> None:
    """The pod asks ten times while others go on; a pod that is not known shares its budget with others of its kind."""
    rows = tables(REFUSE, node, pod, allowance=10)
    row = rows.pods.pop(pod.cgroup_id)
    rows.pods.update({storm.cgroup_id: row for storm in storms} | ({pod.cgroup_id: row} if is_known else {}))
    rows.write(node.kernel)
    call = {"call": "dial", "family": "4", "protocol": "TCP", "address": WAYPOINT["4"], "port": WAYPOINT_PORT}
    before = node.kernel.counters()[Reason.EVENT_LOST]
    for storm in storms:
        storm.start(**call, times=STORM)
    until_lost(node, before)
    events.read()
    assert pod.calls(**call, times=10) == [{"errno": EPERM}] * 10
    found = events.read()
    between = node.kernel.counters()[Reason.EVENT_LOST]
    for storm in storms:
        storm.finish()
    assert node.kernel.counters()[Reason.EVENT_LOST] > between, "the storm had ended too early"
    client = pod.cgroup_id if is_known else 0
    assert [event.reason for event in found if event.cgroup_id == client] == [Reason.WAYPOINT_DIALLED] * 10


def test_a_pod_s_allowance_is_bounded_and_what_is_not_told_is_counted(node: Node, pod: Pod, events) -> None:
    rows = tables(REFUSE, node, pod, allowance=1)
    rows.write(node.kernel)
    before = node.kernel.counters()[Reason.EVENT_LOST]
    pod.calls(call="dial", family="4", protocol="TCP", address=WAYPOINT["4"], port=WAYPOINT_PORT, times=2000)
    lost = node.kernel.counters()[Reason.EVENT_LOST] - before
    assert len(events.read()) + lost == 2000
    assert lost > 1000


def test_nothing_is_told_when_nothing_is_allowed(node: Node, pod: Pod, events) -> None:
    for case in (FORWARD, REFUSE):
        tables(case, node, pod, allowance=0).write(node.kernel)
        pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert events.read() == []
