"""Connected sockets end when their backend is gone, and no others: the real process, in the pods' namespace."""

import asyncio
from pathlib import Path

import pytest

from agent.datapath.driver import BackendsRemoved
from agent.ir.tables import Protocol, SocketAddress
from agent.ir.tables import address_bytes as packed
from agent.kernel.socket_terminator import SocketTerminator
from support.datapath.decision_cases import slot
from support.datapath.frontend import Frontend
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import BACKEND_PORT, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf


async def terminate(
    node: Node, helper: NetnsHelper, *frontends: BackendsRemoved, spared: str | None = None
) -> dict[Protocol, int]:
    """What one run of the process ends."""
    terminator = SocketTerminator(node.pins, node.kubepods, helper.socket, lambda: [spared] if spared else [])
    running = asyncio.create_task(terminator.run())
    terminator.submit(frontends)
    async with asyncio.timeout(30):
        while not terminator.runs:
            await asyncio.sleep(0.01)
    running.cancel()
    return dict(terminator.ended)


def backends_removed(front: Frontend, *left: str) -> BackendsRemoved:
    """The frontend with the backends that it still has."""
    backends: frozenset[SocketAddress] = frozenset((packed(address), BACKEND_PORT) for address in left)
    return BackendsRemoved(Protocol[front.protocol], (packed(front.vip), VIP_PORT), backends)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("family", ["4", "6", "mapped"])
async def test_sockets_of_a_backend_that_left_end(family: str, protocol: str, node: Node, helper: NetnsHelper) -> None:
    pod = node.new_pod()
    front = Frontend(node, pod, family, protocol)
    first, second, _ = front.backends
    for address in (first, second):
        front.has(slot(address))
        front.reached("connect", keep=address)
    assert await terminate(node, helper, backends_removed(front, first, second)) == {}
    assert await terminate(node, helper, backends_removed(front, first)) == {Protocol[protocol]: 1}
    assert (front.remains(first), front.remains(second)) == (True, False)
    assert await terminate(node, helper, backends_removed(front)) == {Protocol[protocol]: 1}
    assert not front.remains(first)
    pod.close()


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_sockets_that_are_not_ours_stay(protocol: str, node: Node, helper: NetnsHelper, pod: Pod) -> None:
    """One that dialled the backend itself, one of another frontend, and one that is at the waypoint."""
    front = Frontend(node, pod, "4", protocol)
    first, second, _ = front.backends
    names = [f"{protocol}-{name}" for name in ("direct", "ours")]
    front.has(slot(first))
    direct = {"family": "4", "protocol": protocol, "address": first, "port": BACKEND_PORT}
    assert pod.call(call="connect", **direct, keep=names[0])["reached"] == [first, BACKEND_PORT]
    front.reached("connect", keep=names[1])
    other = BackendsRemoved(Protocol[protocol], (packed("10.96.0.2"), VIP_PORT), frozenset())
    assert await terminate(node, helper, other) == {}
    assert await terminate(node, helper, backends_removed(front, second), spared=first) == {}
    assert await terminate(node, helper, backends_removed(front, second)) == {Protocol[protocol]: 1}
    assert [front.remains(name) for name in names] == [True, False]


async def test_what_cannot_be_done_is_said_and_tried_again(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    terminator = SocketTerminator(node.pins / "nowhere", node.kubepods, Path("/nowhere"), list)
    running = asyncio.create_task(terminator.run())
    terminator.submit([BackendsRemoved(Protocol.UDP, (packed("10.96.0.2"), VIP_PORT), frozenset())])
    async with asyncio.timeout(60):
        while terminator.runs < 2:
            await asyncio.sleep(0.01)
    assert "nowhere" in caplog.records[-1].__dict__["error"]
    assert len(terminator.waiting) == 1
    running.cancel()
