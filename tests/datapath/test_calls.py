"""Every way to connect or send that programs use reaches the backend, and the program sees the frontend."""

from errno import EADDRNOTAVAIL

import pytest

from agent.ir.tables import (
    ANY_NAMESPACE,
    Action,
    FrontendAction,
    FrontendKey,
    Protocol,
    Reason,
    ServiceRow,
    address_bytes,
)
from support.datapath.decision_cases import Case, rows_for, slot
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
ONE, TWO, AGAIN = (VIP["4"], VIP_PORT), ("10.96.0.2", 53), ("10.96.0.3", 8080)
FIRST, SECOND = ((address, BACKEND_PORT) for address in BACKENDS["4"][:2])
BASE, INDEX = 80, 20
TCP_WAYS = (
    *("not_blocking", "after_a_failure", "bound", "bound_without_port"),
    *("same_source_to_a_shared_backend", "fast_open", "multipath", "inherited"),
)
FROM_ONE = {"source": list(ONE), "reached": list(FIRST)}
FROM_TWO = {"source": list(TWO), "reached": list(SECOND)}
UDP_WAYS = {
    "alternating": {"replies": [FROM_ONE, FROM_TWO, FROM_ONE, FROM_TWO]},
    "elsewhere_while_connected": FROM_ONE,
    "disconnected": FROM_TWO,
    "many_at_once": {"replies": [FROM_ONE, FROM_TWO]},
    "segmented": {"replies": [FROM_ONE, FROM_ONE]},
    "peeked": {"replies": [FROM_ONE, FROM_ONE]},
    "with_packet_info": FROM_ONE,
}


@pytest.fixture
def frontends(node: Node, pod: Pod) -> None:
    """Three frontends for TCP and UDP; the first and the third have one backend."""
    rows = rows_for(Case("", Reason.FORWARDED), pod.cgroup_id, node.levels)
    rows.frontends.clear()
    for number, (frontend, backend) in enumerate(((ONE, FIRST), (TWO, SECOND), (AGAIN, FIRST))):
        rows.slots[BASE + number] = slot(backend[0])
        rows.services[INDEX + number] = ServiceRow(3000 + number)
        for deep in (0, 1):
            rows.actions[2 * (INDEX + number) + deep] = FrontendAction(Action.FORWARD, BASE + number, 1)
        for protocol in Protocol:
            rows.frontends[FrontendKey(ANY_NAMESPACE, address_bytes(frontend[0]), frontend[1], protocol)] = (
                INDEX + number
            )
    rows.write(node.kernel)


def go(pod: Pod, name: str) -> dict:
    """What a program of the pod sees that calls in this way."""
    addresses = {"one": ONE, "two": TWO, "again": AGAIN, "backend": FIRST}
    answer = pod.call(call="way", name=name, family="4", protocol="TCP", addresses=addresses)
    assert answer.pop("cookie", None), answer
    return answer


@pytest.mark.parametrize("name", TCP_WAYS)
def test_tcp(name: str, frontends: None, pod: Pod) -> None:
    expected = {"peer": list(ONE), "reached": list(FIRST)}
    if name == "multipath":  # the state is with the first subflow's socket, not with the one that is asked
        expected["peer"] = list(FIRST)
    if name == "same_source_to_a_shared_backend":
        expected["errno"] = EADDRNOTAVAIL
    assert go(pod, name) == expected


@pytest.mark.parametrize("name", UDP_WAYS)
def test_udp(name: str, frontends: None, pod: Pod) -> None:
    assert go(pod, name) == UDP_WAYS[name]


def test_a_datagram_that_is_not_ours_is_not_translated(frontends: None, pod: Pod) -> None:
    ours, foreign = go(pod, "foreign_datagram")["replies"]
    assert ours == FROM_ONE
    assert foreign["source"] == foreign["reached"]
    assert foreign["source"][0] == FIRST[0]
    assert foreign["source"][1] != BACKEND_PORT


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.9.200"])
def test_what_is_no_frontend_is_left_alone(address: str, frontends: None, node: Node, pod: Pod) -> None:
    before = node.kernel.counters()[Reason.NO_FRONTEND]
    destinations = [(family, protocol, address, VIP_PORT) for family in ("4",) for protocol in ("TCP", "UDP")]
    pod.call(call="probe", family="4", protocol="UDP", destinations=destinations)
    assert node.kernel.counters()[Reason.NO_FRONTEND] - before == len(destinations)
