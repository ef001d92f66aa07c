"""What sockets remember, and what they must forget."""

import socket
from errno import ECONNREFUSED

import pytest

from agent.ir.tables import Action, FrontendAction, Mode, PodRow, Reason
from support.datapath.decision_cases import REJECT_EMPTY, Case, rows_for
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
FORWARD = Case("forward", Reason.FORWARDED, protocol="UDP")


@pytest.mark.parametrize("family", ["4", "6"])
def test_second_connect_of_a_descriptor_forgets_the_first(family: str, node: Node, pod: Pod) -> None:
    """The same backend, dialled directly, must not be shown as the frontend it served a moment ago."""
    case = Case("forward", Reason.FORWARDED, protocol="UDP", family=family)
    rows_for(case, pod.cgroup_id, node.levels).write(node.kernel)
    backend = BACKENDS[family][0]
    answer = pod.call(
        call="reconnect",
        family=family,
        protocol="UDP",
        address=VIP[family],
        port=VIP_PORT,
        then=backend,
        then_port=BACKEND_PORT,
    )
    assert answer.pop("cookie")
    assert answer == {
        "peer": [backend, BACKEND_PORT],
        "source": [backend, BACKEND_PORT],
        "reached": [backend, BACKEND_PORT],
    }


def test_rewritten_connections_are_counted_from_beginning_to_end(node: Node, pod: Pod) -> None:
    rows_for(Case("forward", Reason.FORWARDED), pod.cgroup_id, node.levels).write(node.kernel)
    before = node.kernel.counters()
    pod.calls(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, times=5)
    pod.calls(call="connect", family="4", protocol="TCP", address=BACKENDS["4"][0], port=BACKEND_PORT, times=5)
    after = node.kernel.counters()
    assert after[Reason.ESTABLISHED] - before[Reason.ESTABLISHED] == 5
    assert after[Reason.CLOSED] - before[Reason.CLOSED] == 5


def test_an_action_flipped_under_load_is_never_half_read(node: Node, pod: Pod) -> None:
    """Two actions whose halves, mixed, would name an unwritten slot: every connection lands on one of the two."""
    rows = rows_for(FORWARD, pod.cgroup_id, node.levels)
    rows.write(node.kernel)
    low, high = 20, 200_000
    node.kernel.slots.upsert({low: rows.slots[16], high: rows.slots[17]})
    number = min(rows.actions)
    actions = [FrontendAction(Action.FORWARD, low, 1), FrontendAction(Action.FORWARD, high, 1)]
    pod.start(call="connect", family="4", protocol="UDP", address=VIP["4"], port=VIP_PORT, times=3000)
    for flip in range(300_000):
        node.kernel.actions.upsert({number: actions[flip % 2]})
    answers = pod.finish()
    node.kernel.slots.delete([low, high])
    reached = {tuple(answer.get("reached", (answer.get("errno"),))) for answer in answers}
    assert reached == {(address, BACKEND_PORT) for address in BACKENDS["4"][:2]}


def test_the_programs_are_those_of_the_cgroup_where_the_socket_was_made(node: Node) -> None:
    """A socket made outside kubepods and handed to a pod runs none of our programs."""
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    pod = node.new_pod(outside.fileno())
    refused = Case("refused", Reason.NO_BACKEND, actions=(REJECT_EMPTY, REJECT_EMPTY), protocol="UDP")
    rows_for(refused, pod.cgroup_id, node.levels).write(node.kernel)
    call = {"call": "assign", "family": "4", "protocol": "UDP", "address": VIP["4"], "port": VIP_PORT}
    own, handed = pod.call(**call), pod.call(**call, fd=outside.fileno())
    pod.close()
    outside.close()
    assert own == {"errno": ECONNREFUSED}
    assert handed.get("errno") != ECONNREFUSED


def test_identity_is_that_of_the_task_that_connects(node: Node, pod: Pod) -> None:
    """Another pod, with a row of its own in mode none, is untouched though the frontend is there."""
    other = node.new_pod()
    rows = rows_for(FORWARD, pod.cgroup_id, node.levels)
    rows.pods[other.cgroup_id] = PodRow(1, Mode.NONE)
    rows.write(node.kernel)
    call = {"call": "connect", "family": "4", "protocol": "UDP", "address": VIP["4"], "port": VIP_PORT}
    enrolled, untouched = pod.call(**call), other.call(**call)
    other.close()
    assert enrolled["reached"] == [BACKENDS["4"][0], BACKEND_PORT]
    assert untouched["reached"] == [VIP["4"], VIP_PORT]
