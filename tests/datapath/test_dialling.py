"""Nobody in a pod reaches a waypoint but through a Service, in whatever way it connects; and through a Service in every
way.
"""

from collections import Counter
from errno import ENETUNREACH, EPERM
from typing import Any

import pytest

from agent.ir.tables import Reason
from support.datapath.decision_cases import VIA_WAYPOINT, Case, rows_for
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, WAYPOINT, WAYPOINT_PORT, Node, Pod

pytestmark = pytest.mark.bpf
DECISIONS = [reason for reason in Reason if reason <= Reason.WAYPOINT_LOST]
DATAGRAMS = ("datagram_connected", "datagram", "mapped_datagram")
# What each comes to where nobody refuses it and a server answers.
ALONE = {"from_a_foreign_address": {"begun": True}, "without_a_network": {"errno": ENETUNREACH}}
STREAMS = (
    *("plain", "mapped", "multipath", "mapped_multipath", "bound_to_a_device", "from_a_foreign_address"),
    *("from_the_same_port", "marked", "fast_open", "fast_open_later", "connected_before", "deep_in_cgroups"),
    *("moved_after_socket", "in_a_threaded_cgroup", "on_a_passed_descriptor", "by_io_uring", "by_io_uring_s_workers"),
    *("by_io_uring_s_poller", "without_a_network"),
)


@pytest.fixture(autouse=True)
def enrolled(node: Node, pod: Pod) -> None:
    """The pod is in mode l4, and the Service's port goes through the waypoint."""
    actions = (VIA_WAYPOINT, VIA_WAYPOINT)
    rows_for(Case("", Reason.TO_WAYPOINT, actions=actions), pod.cgroup_id, node.levels).write(node.kernel)


def dialled(node: Node, pod: Pod, way: str, destination: tuple[str, int]) -> tuple[dict[str, Any], Counter[Reason]]:
    """What the program sees, and how often the kernel decided why."""
    before = Counter(node.kernel.counters())
    answer = pod.call(call="dial_by", family="4", protocol="TCP", way=way, address=destination[0], port=destination[1])
    answer.pop("cookie", None)
    counted = Counter(node.kernel.counters()) - before
    return answer, Counter({reason: counted[reason] for reason in DECISIONS if counted[reason]})


@pytest.mark.parametrize("way", STREAMS + DATAGRAMS)
def test_a_waypoint_cannot_be_dialled(way: str, node: Node, pod: Pod) -> None:
    answer, decisions = dialled(node, pod, way, (WAYPOINT["4"], WAYPOINT_PORT))
    assert answer == {"errno": EPERM}
    assert decisions[Reason.WAYPOINT_DIALLED] == 1
    assert decisions.keys() <= {Reason.WAYPOINT_DIALLED, Reason.NO_FRONTEND}


@pytest.mark.parametrize("way", STREAMS)
def test_a_service_is_reached_through_the_waypoint(way: str, node: Node, pod: Pod) -> None:
    answer, decisions = dialled(node, pod, way, (VIP["4"], VIP_PORT))
    assert answer == ALONE.get(way, {"reached": [WAYPOINT["4"], WAYPOINT_PORT]})
    assert decisions[Reason.TO_WAYPOINT] == 1
    assert decisions.keys() <= {Reason.TO_WAYPOINT, Reason.NO_FRONTEND}


@pytest.mark.parametrize("way", STREAMS + DATAGRAMS)
def test_what_is_no_waypoint_is_reached_in_the_same_way(way: str, node: Node, pod: Pod) -> None:
    backend = (BACKENDS["4"][0], BACKEND_PORT)
    answer, decisions = dialled(node, pod, way, backend)
    assert answer == ALONE.get(way, {"reached": list(backend)})
    assert decisions.keys() == {Reason.NO_FRONTEND}
