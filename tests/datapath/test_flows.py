"""Flows: what the kernel says of connections is what real sockets did."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import E2BIG, ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, ENOMEM
from math import ceil, log2

import pytest

from agent.ir.flow_tables import FLOW_STEPS, OVERFLOW_ROW, FlowKey, FlowSums
from agent.ir.tables import Mode, PodRow, Protocol, Reason
from agent.kernel import abi, flow_rows, libbpf
from agent.kernel.bpffs import opened
from agent.kernel.programs import Pins
from support.datapath.decision_cases import OWN_NAMESPACE, REJECT_EMPTY, VIA_WAYPOINT, Case, Rows
from support.datapath.flows import WORKLOAD, tables
from support.datapath.node import VIP, VIP_PORT, WAYPOINT, WAYPOINT_PORT, Node, Pod, run

pytestmark = pytest.mark.bpf
NOBODYS_PORT = 9
NEIGHBOUR = "10.0.8.1"
PATIENCE = 10
FORWARD = Case("forward", Reason.FORWARDED)


def service_id(rows: Rows) -> int:
    return next(iter(rows.services.values())).service_id


@pytest.fixture
def flows(node: Node) -> Callable[[], dict[FlowKey, FlowSums]]:
    """What was counted since the test began."""
    node.kernel.flows.delete(node.kernel.flows.load())
    return node.kernel.flows.load


def until_ended(flows: Callable[[], dict[FlowKey, FlowSums]], ended: int) -> dict[FlowKey, FlowSums]:
    """The flows once so many connections have ended: the last acknowledgement may come a moment later."""
    deadline = time.monotonic() + PATIENCE
    while sum(row.closed + row.failed for row in flows().values()) < ended and time.monotonic() < deadline:
        time.sleep(0.01)
    return flows()


@pytest.mark.parametrize("ends", ["client", "half", "server", "reset"])
@pytest.mark.parametrize(("send", "receive"), [(50, 1), (70_001, 300_003)])
def test_bytes_are_those_that_were_sent(ends: str, send: int, receive: int, node, pod, exchange, flows) -> None:
    rows = tables(FORWARD, node, pod, exchange)
    rows.write(node.kernel)
    call = {"call": "exchange", "family": "4", "protocol": "TCP", "address": VIP["4"], "port": VIP_PORT}
    answers = pod.calls(**call, send=send, receive=receive, ends=ends, times=3)
    assert [answer.get("received") for answer in answers] == [receive] * 3
    found = until_ended(flows, 3)
    assert found.keys() == {FlowKey(WORKLOAD, service_id(rows), Reason.FORWARDED, 0, Protocol.TCP)}
    (sums,) = found.values()
    assert (sums.opened, sums.established, sums.failed, sums.closed) == (3, 3, 0, 3)
    assert (sums.sent, sums.received) == (3 * send, 3 * receive)
    assert sum(sums.connect_steps) == sum(sums.rtt_steps) == 3
    assert sums.connect_us > 0
    assert sums.rtt_us > 0


@pytest.fixture
def slow(node: Node) -> Iterator[None]:
    """A loopback device on which a SYN needs a while."""
    tbf = ("tbf", "rate", "32kbit", "burst", "100", "limit", "10000")
    run("tc", "-n", node.name, "qdisc", "add", "dev", "lo", "root", *tbf)
    yield
    run("tc", "-n", node.name, "qdisc", "delete", "dev", "lo", "root")


def step(us: int) -> int:
    """The histogram's step for a time."""
    return min(max(0, ceil(log2(us / 64))), FLOW_STEPS - 1)


def test_times_are_in_the_step_of_their_length(node: Node, pod: Pod, flows, slow) -> None:
    """One connection: its sums are its own times."""
    tables(FORWARD, node, pod).write(node.kernel)
    pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    (sums,) = until_ended(flows, 1).values()
    assert sums.connect_us > 1000
    for us, steps in ((sums.connect_us, sums.connect_steps), (sums.rtt_us, sums.rtt_steps)):
        assert [number for number, count in enumerate(steps) if count] == [step(us)]


def test_what_the_waypoint_gets_is_a_flow_of_its_own(node: Node, pod: Pod, flows) -> None:
    rows = tables(replace(FORWARD, actions=(VIA_WAYPOINT, VIA_WAYPOINT)), node, pod)
    rows.write(node.kernel)
    answer = pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert answer["reached"] == [WAYPOINT["4"], WAYPOINT_PORT]
    (key,) = until_ended(flows, 1)
    assert key.reason == Reason.TO_WAYPOINT


def test_a_refused_backend_is_a_failure_with_its_errno(node: Node, pod: Pod, flows) -> None:
    rows = tables(FORWARD, node, pod, NOBODYS_PORT)
    rows.write(node.kernel)
    answers = pod.calls(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, times=4)
    assert answers == [{"errno": ECONNREFUSED}] * 4
    found = until_ended(flows, 4)
    key = FlowKey(WORKLOAD, service_id(rows), Reason.FORWARDED, 0, Protocol.TCP)
    assert found == {key: FlowSums(opened=4), replace(key, error=ECONNREFUSED): FlowSums(failed=4)}


@pytest.fixture
def silent_neighbour(node: Node) -> Iterator[str]:
    """An address of a link on which nobody answers: the kernel says so after three quick questions."""
    ip = ("ip", "-n", node.name)
    run(*ip, "link", "add", "mute0", "type", "veth", "peer", "name", "mute1")
    run(*ip, "address", "add", f"{NEIGHBOUR}/24", "dev", "mute0")
    run(*ip, "link", "set", "mute0", "up")
    run(*ip, "link", "set", "mute1", "up")
    quick = "echo 10 > /proc/sys/net/ipv4/neigh/mute0/retrans_time_ms"
    run("ip", "netns", "exec", node.name, "sh", "-c", quick)
    yield "10.0.8.77"
    run(*ip, "link", "delete", "mute0")


def test_an_unreachable_backend_is_a_failure_with_its_errno(node, pod, flows, silent_neighbour: str) -> None:
    rows = tables(FORWARD, node, pod, address=silent_neighbour)
    rows.write(node.kernel)
    answer = pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert answer == {"errno": EHOSTUNREACH}
    key = FlowKey(WORKLOAD, service_id(rows), Reason.FORWARDED, EHOSTUNREACH, Protocol.TCP)
    assert until_ended(flows, 1)[key] == FlowSums(failed=1)


def test_a_connection_that_was_given_up_has_failed_without_errno(node, pod, flows, silent_neighbour: str) -> None:
    rows = tables(FORWARD, node, pod, address=silent_neighbour)
    rows.write(node.kernel)
    answer = pod.call(call="abandon", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert answer["begun"] == EINPROGRESS
    key = FlowKey(WORKLOAD, service_id(rows), Reason.FORWARDED, 0, Protocol.TCP)
    assert until_ended(flows, 1) == {key: FlowSums(opened=1, failed=1)}


def test_a_connection_is_open_until_it_ends(node: Node, pod: Pod, flows) -> None:
    """Also one that is ended by connect(AF_UNSPEC), which runs no program of connect's."""
    rows = tables(FORWARD, node, pod)
    rows.write(node.kernel)
    call = {"call": "dial", "family": "4", "protocol": "TCP", "address": VIP["4"], "port": VIP_PORT, "keep": "open"}
    pod.call(**call)
    (sums,) = flows().values()
    assert (sums.opened, sums.established, sums.closed, sums.received) == (1, 1, 0, 0)
    assert pod.call(**call | {"call": "end"})["ended"] == 0
    (sums,) = until_ended(flows, 1).values()
    assert (sums.opened, sums.established, sums.closed) == (1, 1, 1)


@pytest.mark.parametrize(("protocol", "call"), [("TCP", "connect"), ("UDP", "connect"), ("UDP", "sendto")])
@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_a_refusal_of_ours_is_opened_and_nothing_else(family, protocol, call, node, pod, flows) -> None:
    case = Case("r", Reason.NO_BACKEND, actions=(REJECT_EMPTY, REJECT_EMPTY), protocol=protocol, family=family)
    rows = tables(case, node, pod)
    rows.write(node.kernel)
    address = f"::ffff:{VIP['4']}" if family == "mapped" else VIP[family]
    pod.calls(call=call, family=family, protocol=protocol, address=address, port=VIP_PORT, times=2)
    key = FlowKey(WORKLOAD, service_id(rows), Reason.NO_BACKEND, 0, Protocol[protocol])
    assert flows() == {key: FlowSums(opened=2)}


@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_a_udp_socket_is_opened_once_however_much_it_sends(family: str, node: Node, pod: Pod, flows) -> None:
    rows = tables(replace(FORWARD, protocol="UDP", family=family), node, pod)
    rows.write(node.kernel)
    address = f"::ffff:{VIP['4']}" if family == "mapped" else VIP[family]
    call = {"family": family, "protocol": "UDP", "address": address, "port": VIP_PORT}
    pod.calls(call="sendto", **call, keep=f"flows-{family}", times=5)
    pod.calls(call="connect", **call, times=2)
    key = FlowKey(WORKLOAD, service_id(rows), Reason.FORWARDED, 0, Protocol.UDP)
    assert flows() == {key: FlowSums(opened=3)}


@pytest.mark.parametrize("mode", [None, Mode.NONE])
def test_who_is_not_in_the_mesh_has_no_flow(mode: Mode | None, node: Node, pod: Pod, flows) -> None:
    tables(replace(FORWARD, mode=mode), node, pod).write(node.kernel)
    pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    assert flows() == {}


def fill(node: Node) -> None:
    """Rows of zeros until there is no room; the kernel's own store of memory runs low now and then on the way."""
    row = bytes(abi.FLOW.size * node.kernel.cpus)
    with opened(Pins(node.pins).map_path("weft_flows")) as fd:
        number = 0
        while True:
            try:
                libbpf.update(fd, flow_rows.encode_flow_key(FlowKey(1, number)), row)
                number += 1
            except OSError as error:
                if error.errno == E2BIG:
                    return
                if error.errno != ENOMEM:
                    raise


def test_what_has_no_room_is_in_the_rest_and_counted(node: Node, pod: Pod, flows) -> None:
    rows = tables(FORWARD, node, pod)
    rows.write(node.kernel)
    node.kernel.flows.make_overflow_row()
    node.kernel.flows.make_overflow_row()
    fill(node)
    before = node.kernel.counters()[Reason.FLOW_LOST]
    pod.calls(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, times=2)
    found = until_ended(flows, 2)
    node.kernel.flows.delete(found)
    sums = found[OVERFLOW_ROW]
    assert (sums.opened, sums.established, sums.closed) == (2, 2, 2)
    assert node.kernel.counters()[Reason.FLOW_LOST] - before == 6


def test_a_state_of_an_earlier_version_is_followed_no_further(node: Node, pod: Pod, flows) -> None:
    """Its row names no workload."""
    rows = tables(FORWARD, node, pod)
    rows.pods[pod.cgroup_id] = PodRow(OWN_NAMESPACE, Mode.L4)
    rows.write(node.kernel)
    before = node.kernel.counters()
    pod.call(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT)
    after = node.kernel.counters()
    assert after[Reason.CLOSED] - before[Reason.CLOSED] == 1
    assert {key.workload_id for key in flows()} == {0}
    assert sum(row.closed for row in flows().values()) == 0
