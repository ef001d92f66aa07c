"""What unconnected UDP sockets remember: the frontend of each reply and the backend of each frontend, whatever other
pods do, and over a change of the programs.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.ir.tables import ANY_NAMESPACE, Action, FrontendAction, FrontendKey, Protocol, Reason, ServiceRow
from agent.ir.tables import address_bytes as packed
from agent.kernel import abi
from agent.kernel.programs import SOURCES
from support.datapath.decision_cases import Case, rows_for, slot
from support.datapath.frontend import Frontend, never
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP_PORT, Node, Pod, load

pytestmark = pytest.mark.bpf
MANY = 2 * abi.UDP_PEERS
FRONTENDS = tuple(f"10.96.7.{number}" for number in range(1, abi.UDP_PAIRS + 3))
BASE, INDEX = 96, 30
# The programs of a version without pairs: all state is in the LRU tables.
WITHOUT_PAIRS = {
    "weft_udp_sockets.sk_storage_get(sk, NULL, 0)": "NULL",
    "weft_udp_sockets.sk_storage_get(sk, NULL, BPF_SK_STORAGE_GET_F_CREATE)": "NULL",
}


@pytest.fixture
def hostile(node: Node) -> Iterator[Pod]:
    """A pod beside, enrolled like the other."""
    pod = node.new_pod()
    yield pod
    pod.close()


def enrol(node: Node, pod: Pod, like: Pod) -> None:
    node.kernel.pods.upsert({pod.cgroup_id: node.kernel.pods.load()[like.cgroup_id]})


def wait_until_read(pod: Pod, backend: str) -> None:
    """Wait until a backend has read what a flood sent it: before that, its queue may be full."""
    call = {"call": "sendto", "family": "6" if ":" in backend else "4", "protocol": "UDP", "port": BACKEND_PORT}
    assert any("reached" in pod.call(**call, address=backend) for _ in range(24))


@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_no_pod_can_take_the_state_of_another_s_socket(family: str, node: Node, pod: Pod, hostile: Pod) -> None:
    front = Frontend(node, pod, family, "UDP")
    first, second, _ = front.backends
    front.has(slot(second))
    address = f"::ffff:{front.vip}" if family == "mapped" else front.vip
    call = {"family": family, "protocol": "UDP", "address": address, "port": VIP_PORT}
    pod.call(call="send", **call, keep=f"asked-{family}")
    enrol(node, hostile, pod)
    hostile.call(call="flood", **call, sockets=MANY)
    answer = pod.call(call="receive", **call, keep=f"asked-{family}")
    assert answer["source"] == [address, VIP_PORT]
    wait_until_read(pod, second)
    front.has(slot(first), never(second))
    assert front.reached("sendto", keep=f"asked-{family}") == second


@dataclass
class Frontends:
    """More frontends than a socket has pairs for, each with a slot of its own."""

    node: Node
    pod: Pod

    def have(self, *backends: str) -> None:
        """From now on the frontends have these backends."""
        rows = rows_for(Case("", Reason.FORWARDED), self.pod.cgroup_id, self.node.levels)
        rows.frontends.clear()
        for number, (address, backend) in enumerate(zip(FRONTENDS, backends, strict=True)):
            rows.slots[BASE + number] = slot(backend)
            rows.services[INDEX + number] = ServiceRow(4000 + number)
            for deep in (0, 1):
                rows.actions[2 * (INDEX + number) + deep] = FrontendAction(Action.FORWARD, BASE + number, 1)
            key = FrontendKey(ANY_NAMESPACE, packed(address), VIP_PORT, Protocol.UDP)
            rows.frontends[key] = INDEX + number
        rows.write(self.node.kernel)

    def ask(self, number: int, call: str = "sendto", keep: str = "many") -> dict:
        destination = {"address": FRONTENDS[number], "port": VIP_PORT, "keep": keep}
        return self.pod.call(call=call, family="4", protocol="UDP", **destination)


def overflows(node: Node) -> int:
    return node.kernel.counters()[Reason.UDP_OVERFLOW]


def test_frontends_beyond_those_that_a_socket_keeps_are_in_the_table_and_counted(node: Node, pod: Pod) -> None:
    """The frontends alternate between two backends, so that several share one: replies are of the latest."""
    frontends, before = Frontends(node, pod), overflows(node)
    there = [BACKENDS["4"][number % 2] for number in range(len(FRONTENDS))]
    frontends.have(*there)
    order = [*range(len(FRONTENDS)), *range(len(FRONTENDS)), 0, 2, 4, 0, 4, 2, 0]
    for number in order:
        answer = frontends.ask(number)
        assert answer["source"] == [FRONTENDS[number], VIP_PORT], number
        assert answer["reached"] == [there[number], BACKEND_PORT], number
    assert overflows(node) > before


def test_few_frontends_of_a_socket_take_no_room_in_the_table(node: Node, pod: Pod) -> None:
    frontends, before = Frontends(node, pod), overflows(node)
    frontends.have(*[BACKENDS["4"][0]] * len(FRONTENDS))
    for number in range(abi.UDP_PAIRS):
        assert frontends.ask(number, keep="few")["source"] == [FRONTENDS[number], VIP_PORT]
    assert overflows(node) == before


def test_a_socket_whose_pairs_are_used_up_follows_a_frontend_to_another_backend(node: Node, pod: Pod) -> None:
    frontends = Frontends(node, pod)
    one, two, three = BACKENDS["4"]
    for backend in (one, two, three, one, two, three):
        frontends.have(*[backend] * len(FRONTENDS))
        for number in (0, 1, len(FRONTENDS) - 1):
            answer = frontends.ask(number, keep="moved")
            assert answer["source"] == [FRONTENDS[number], VIP_PORT]
            assert answer["reached"] == [backend, BACKEND_PORT]


@pytest.fixture
def earlier(node: Node, tmp_path: Path) -> Path:
    """The sources of such a version."""
    sources = tmp_path / "bpf"
    shutil.copytree(SOURCES, sources)
    text = (sources / "maps.h").read_text()
    for before, after in WITHOUT_PAIRS.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    (sources / "maps.h").write_text(text)
    return sources


@pytest.mark.compiles
def test_sockets_of_a_version_without_pairs_outlive_the_upgrade(node: Node, pod: Pod, earlier: Path) -> None:
    front = Frontend(node, pod, "4", "UDP")
    first, second, _ = front.backends
    destination = {"family": "4", "protocol": "UDP", "address": front.vip, "port": VIP_PORT, "keep": "upgraded"}
    load(node.pins, node.kubepods, earlier)
    front.has(slot(second))
    pod.call(call="send", **destination)
    load(node.pins, node.kubepods)
    assert pod.call(call="receive", **destination)["source"] == [front.vip, VIP_PORT]
    front.has(slot(first), never(second))
    assert front.reached("sendto", keep="upgraded") == second


@pytest.mark.compiles
def test_a_downgrade_costs_a_socket_the_answers_under_way_alone(node: Node, pod: Pod, earlier: Path) -> None:
    """The version without pairs does not know the socket until its next datagram; it may select another backend."""
    front = Frontend(node, pod, "4", "UDP")
    first, second, _ = front.backends
    destination = {"family": "4", "protocol": "UDP", "address": front.vip, "port": VIP_PORT, "keep": "downgraded"}
    front.has(slot(second))
    pod.call(call="send", **destination)
    load(node.pins, node.kubepods, earlier)
    assert pod.call(call="receive", **destination)["source"] == [second, BACKEND_PORT]
    front.has(slot(first), never(second))
    answer = pod.call(call="sendto", **destination)
    assert (answer["source"], answer["reached"]) == ([front.vip, VIP_PORT], [first, BACKEND_PORT])
    load(node.pins, node.kubepods)
    assert pod.call(call="sendto", **destination)["source"] == [front.vip, VIP_PORT]
