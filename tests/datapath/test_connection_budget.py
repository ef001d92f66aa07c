"""Connections to the waypoint are shared: the pods of a namespace may have as many as they leave free."""

from collections.abc import Iterator
from dataclasses import replace
from errno import ECONNREFUSED, EINPROGRESS

import pytest

from agent.ir.tables import ALL_NAMESPACES, Mode, PodRow, Protocol, Reason, ServiceRow, address_bytes
from agent.kernel.oracle.decide import decide
from support.datapath.decision_cases import INDEX, TO_FIRST, VIA_WAYPOINT, Case, rows_for
from support.datapath.node import VIP, VIP_PORT, WAYPOINT_PORT, Answer, Node, Pod

pytestmark = pytest.mark.bpf
ROOM = 20
GREEDY, SECOND = 501, 502


@pytest.fixture
def pods(node: Node) -> Iterator[dict[int, Pod]]:
    """A pod of each namespace, in mode l7, and a frontend at the waypoint. When they have ended nothing is charged."""
    pods = {namespace: node.new_pod() for namespace in (GREEDY, SECOND)}
    rows = rows_for(Case("", Reason.TO_WAYPOINT, mode=Mode.L7, actions=(TO_FIRST, VIA_WAYPOINT)), 0, node.levels)
    rows = replace(
        rows,
        config=replace(rows.config, waypoint_connections=ROOM),
        pods={pod.cgroup_id: PodRow(namespace, Mode.L7, workload_id=namespace) for namespace, pod in pods.items()},
    )
    rows.write(node.kernel)
    assert node.kernel.connections() == {}
    yield pods
    for pod in pods.values():
        pod.close()
    assert node.kernel.connections() == {}
    node.kernel.configure(replace(rows.config, waypoint_connections=0))


def call(pod: Pod, name: str, **options: object) -> Answer:
    return pod.call(call=name, family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, **options)


def dial(pod: Pod, times: int) -> list[int]:
    """Connect so many sockets; returns the descriptors of those that are connected, which stay open."""
    answers = [call(pod, "dial", keep=str(number)) for number in range(times)]
    assert {item["errno"] for item in answers if "errno" in item} <= {ECONNREFUSED}
    return [item["fd"] for item in answers if "errno" not in item]


def decided(node: Node, pod: Pod) -> Reason:
    """What the oracle says of another connection."""
    where = address_bytes(VIP["4"]), VIP_PORT, Protocol.TCP
    return decide(node.kernel.encoded(), node.cgroup_ids(pod), *where).reason


def test_a_namespace_has_as_many_connections_as_it_leaves_free(node: Node, pods: dict[int, Pod]) -> None:
    before = node.kernel.counters()[Reason.OVER_BUDGET]
    assert len(dial(pods[GREEDY], ROOM)) == ROOM // 2
    assert len(dial(pods[SECOND], ROOM)) == ROOM // 4
    assert node.kernel.connections() == {GREEDY: 10, SECOND: 5, ALL_NAMESPACES: 15}
    assert node.kernel.counters()[Reason.OVER_BUDGET] - before == 25
    assert decided(node, pods[GREEDY]) == decided(node, pods[SECOND]) == Reason.OVER_BUDGET
    call(pods[SECOND], "end", keep="0")
    assert decided(node, pods[GREEDY]) == Reason.OVER_BUDGET
    assert decided(node, pods[SECOND]) == Reason.TO_WAYPOINT


def test_a_connection_that_ended_is_free_again(node: Node, pods: dict[int, Pod]) -> None:
    """By close, by connect(AF_UNSPEC), before it was established, and without a server."""
    (kept, other) = dial(pods[GREEDY], 2)
    call(pods[GREEDY], "remain", fd=other)  # which closes it
    assert node.kernel.connections() == {GREEDY: 1, ALL_NAMESPACES: 1}
    call(pods[GREEDY], "end", keep="0")
    assert node.kernel.connections() == {}
    assert "errno" not in call(pods[GREEDY], "dial", keep="0")
    assert node.kernel.connections() == {GREEDY: 1, ALL_NAMESPACES: 1}
    call(pods[GREEDY], "remain", fd=kept)
    for _ in range(ROOM):
        assert call(pods[GREEDY], "abandon")["begun"] == EINPROGRESS
    assert node.kernel.connections() == {}
    node.kernel.services.upsert({INDEX: ServiceRow(1000 + INDEX, WAYPOINT_PORT + 1)})
    for number in range(ROOM):
        assert call(pods[GREEDY], "dial", keep=f"refused {number}")["errno"] == ECONNREFUSED
    assert node.kernel.connections() == {}


def test_connections_to_backends_and_of_a_waypoint_without_a_limit_are_not_refused(
    node: Node, pods: dict[int, Pod]
) -> None:
    node.kernel.configure(replace(node.kernel.configuration(), waypoint_connections=0))
    assert len(dial(pods[GREEDY], 2 * ROOM)) == 2 * ROOM
    assert node.kernel.connections()[GREEDY] == 2 * ROOM
    node.kernel.configure(replace(node.kernel.configuration(), waypoint_connections=ROOM))
    node.kernel.actions.upsert({2 * INDEX + 1: TO_FIRST})
    assert len(dial(pods[SECOND], 2 * ROOM)) == 2 * ROOM
    assert SECOND not in node.kernel.connections()
