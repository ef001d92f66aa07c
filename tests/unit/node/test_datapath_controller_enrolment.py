"""Pods that come while the loop is busy: they connect as soon as they run."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import Mode
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.model.change import Change, Upsert
from agent.model.facts import PodCgroup
from support.fakes.kernel import FakeKernel
from support.fakes.node import POD, SECOND, TEXT, Node, upserts

SERVICES = 1000
ADDRESS = "10.1.0.1"
OUT = "{apiVersion: v1, kind: Namespace, metadata: {name: app, labels: {weft.dev/mode: none}}}"
LATER = """
apiVersion: v1
kind: Pod
metadata: {name: later, namespace: app, uid: u-2}
spec: {nodeName: here}
"""


@pytest.fixture
async def busy() -> AsyncIterator[Node]:
    """A node that has begun to take in many Services, and knows a pod that has no cgroup yet."""
    node = Node(FakeKernel(frontends=4 * SERVICES, slots=4 * SERVICES))
    await node.synced()
    node.manifests.send(*upserts(LATER))
    await node.passes()
    many: list[Change] = []
    for number in range(SERVICES):
        text = SECOND.replace("other", f"other-{number}").replace("10.96.0.2", f"10.97.{number // 250}.{number % 250}")
        many += upserts(text)
    node.manifests.send(*many)
    await node.until(lambda: node.controller.change_queue.has_pending)
    yield node
    await node.kill()


async def test_a_pod_is_enrolled_in_the_midst_of_a_pass(busy: Node) -> None:
    busy.facts.send(Upsert(PodCgroup("u-2", 43)))
    await busy.until(lambda: 43 in busy.kernel.pods.rows)
    assert len(busy.kernel.frontends.rows) < SERVICES
    await busy.until(lambda: len(busy.kernel.frontends.rows) == SERVICES + 1 and busy.controller.ready)
    assert busy.kernel.pods.rows.keys() == {POD.cgroup_id, 43}


async def test_a_kernel_that_refuses_a_pod_in_the_midst_of_a_pass_loses_nothing(busy: Node) -> None:
    busy.kernel.fuse.left = 0
    busy.facts.send(Upsert(PodCgroup("u-2", 43)))
    await busy.until(lambda: 43 in busy.controller.datapath.desired_pods)
    await busy.passes()
    busy.kernel.fuse.left = None
    await busy.until(lambda: len(busy.kernel.frontends.rows) == SERVICES + 1 and busy.controller.ready)
    assert busy.kernel.pods.rows.keys() == {POD.cgroup_id, 43}


async def test_a_pod_does_not_wait_for_a_listener_that_is_tried(node: Node) -> None:
    await node.synced()
    node.manifests.send(*upserts(LATER))
    node.answers.clear()
    node.ads.acknowledges = True
    node.controller.wake()
    await node.until(lambda: node.tried)
    node.facts.send(Upsert(PodCgroup("u-2", 43)))
    await node.until(lambda: 43 in node.kernel.pods.rows)
    assert len(node.tried) == 1, "it is still tried"


def allowed(node: Node) -> set[str]:
    """The addresses on the waypoint's client allow-list, as last published."""
    rules = node.ads.resources[ResourceName(ResourceType.EXTENSION, "client-allow-list")]["typed_config"]["rules"]
    return {
        item["direct_remote_ip"]["address_prefix"]
        for policy in rules["policies"].values()
        for item in policy["principals"]
    }


async def test_a_pod_that_leaves_the_mesh_is_allow_listed_for_the_grace_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.synced()
    node.manifests.send(*upserts(OUT))
    await node.until(lambda: node.kernel.pods.rows[POD.cgroup_id].mode is Mode.NONE)
    await node.passes()
    assert allowed(node) == {ADDRESS}
    await past_grace(node, monkeypatch)


async def test_a_pod_that_left_while_the_agent_was_away_is_allow_listed_for_the_grace_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.synced()
    await node.kill()
    later = Node(node.kernel)
    await later.synced(TEXT.replace("weft.dev/mode: l7", "weft.dev/mode: none"))
    assert later.kernel.pods.rows[POD.cgroup_id].mode is Mode.NONE
    assert allowed(later) == {ADDRESS}
    await past_grace(later, monkeypatch)
    await later.kill()


async def past_grace(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the grace time is over no client is on the allow list, and comes back when it is in the mesh again."""
    clock = asyncio.get_running_loop().time
    monkeypatch.setattr(node.controller, "_clock", lambda: clock() + LISTENER_GRACE_SECONDS)
    node.controller.wake()
    await node.until(lambda: allowed(node) == set())
    node.manifests.send(*upserts(OUT.replace("none", "l4")))
    await node.until(lambda: allowed(node) == {ADDRESS})


async def test_a_pod_that_never_was_in_the_mesh_is_not_allow_listed(node: Node) -> None:
    await node.synced(TEXT.replace("weft.dev/mode: l7", "weft.dev/mode: none"))
    assert allowed(node) == set()
