"""Backends that are kept: by a UDP socket, and by a pod that has affinity. Kernel and oracle agree at each step."""

import time
from dataclasses import replace

import pytest

from agent.ir.tables import AffinityEntry, AffinityKey, Protocol, Slot, UdpTarget
from agent.ir.tables import address_bytes as packed
from support.datapath.decision_cases import slot
from support.datapath.frontend import SERVICE, Frontend, never
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
SECONDS = 3600


@pytest.mark.parametrize("call", ["connect", "sendto"])
@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_a_udp_socket_keeps_its_backend_while_it_is_there(family: str, call: str, node: Node, pod: Pod) -> None:
    front = Frontend(node, pod, family, "UDP")
    first, second, third = front.backends
    name = f"{family}-{call}"
    front.has(slot(second))
    assert front.reached(call, keep=name) == second
    front.has(slot(first), never(second), never(third))
    assert front.reached(call, keep=name) == second
    assert front.reached(call) == first
    front.has(slot(first), never(third))
    assert front.reached(call, keep=name) == first
    front.has(slot(third))
    assert front.reached(call, keep=name) == third


def test_each_frontend_of_a_udp_socket_has_its_own_backend(node: Node, pod: Pod) -> None:
    """What one frontend was given is nothing to another: the row names the frontend."""
    front = Frontend(node, pod, "4", "UDP")
    first, second, _ = front.backends
    front.has(slot(first), never(second))
    other = UdpTarget(1, packed("10.96.0.77"), VIP_PORT)
    cookie = pod.call(call="sendto", family="4", protocol="UDP", address=front.vip, port=VIP_PORT, keep="own")["cookie"]
    kept = AffinityEntry(packed(second), BACKEND_PORT)
    node.kernel.udp_choices.upsert(
        {replace(other, cookie=cookie): kept, replace(other, address=packed(front.vip)): kept}
    )
    assert front.reached("sendto", keep="own") == first


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_a_pod_with_affinity_keeps_its_backend(family: str, protocol: str, node: Node) -> None:
    pod = node.new_pod()
    front = Frontend(node, pod, family, protocol, SECONDS)
    first, second, third = front.backends
    front.has(slot(second))
    assert front.reached("connect") == second
    front.has(slot(first), never(second), never(third))
    assert front.reached("connect") == second
    front.has(slot(first), never(third))
    assert front.reached("connect") == first
    pod.close()


def test_affinity_ends_when_it_was_not_used_for_its_time(node: Node, pod: Pod) -> None:
    """The row is as old as the machine, whose uptime is compared with the Service's timeout: any uptime will do."""
    used_at_boot, uptime = 1, time.monotonic_ns() // 10**9
    for timeout, expected in ((uptime + SECONDS, "kept"), (1, "expired")):
        front = Frontend(node, pod, "4", "TCP", timeout)
        first, second, _ = front.backends
        front.has(slot(first), never(second))
        key = AffinityKey(SERVICE, pod.cgroup_id, VIP_PORT, Protocol.TCP, 4)
        node.kernel.affinity.upsert({key: AffinityEntry(packed(second), BACKEND_PORT, used_at_boot)})
        reached = second if expected == "kept" else first
        assert front.reached("connect") == reached
        row = node.kernel.affinity.load()[key]
        assert row.address == packed(reached)
        assert row.used > uptime * 10**9


def test_affinity_is_one_pods_one_ports_and_one_protocols(node: Node, pod: Pod) -> None:
    front = Frontend(node, pod, "4", "TCP", SECONDS)
    first, second, _ = front.backends
    front.has(slot(first), never(second))
    own = AffinityKey(SERVICE, pod.cgroup_id, VIP_PORT, Protocol.TCP, 4)
    others = [
        replace(own, service_id=SERVICE + 1),
        replace(own, cgroup_id=pod.cgroup_id + 1),
        replace(own, port=VIP_PORT + 1),
        replace(own, protocol=Protocol.UDP),
        replace(own, family=6),
    ]
    node.kernel.affinity.delete([own])
    node.kernel.affinity.upsert(dict.fromkeys(others, AffinityEntry(packed(second), BACKEND_PORT, time.monotonic_ns())))
    assert front.reached("connect") == first


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000, 9000])
def test_a_backend_is_found_wherever_it_stands(size: int, node: Node, pod: Pod) -> None:
    """The kernel halves the array: its ends, its middle and what stands beside them, and the column that refuses."""
    front = Frontend(node, pod, "4", "TCP", SECONDS)
    wanted, missing = packed(BACKENDS["4"][1]), packed(BACKENDS["4"][2])
    key = AffinityKey(SERVICE, pod.cgroup_id, VIP_PORT, Protocol.TCP, 4)
    for position in sorted({0, 1, size // 2, size - 2, size - 1} & set(range(size))):
        ports = [BACKEND_PORT - position + number for number in range(size)]
        array = [Slot(wanted, port, False, size, 0) for port in ports]
        front.has(*array, Slot(bytes(16), 0, True, size, 1 << 32))
        for address, found in ((wanted, True), (missing, False)):
            node.kernel.affinity.upsert({key: AffinityEntry(address, BACKEND_PORT, time.monotonic_ns())})
            call = {"call": "connect", "family": "4", "protocol": "TCP", "address": front.vip, "port": VIP_PORT}
            assert ("reached" in pod.call(**call)) is found
