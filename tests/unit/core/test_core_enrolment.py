"""Pods that come while the loop is busy: they connect as soon as they run."""

from collections.abc import AsyncIterator

import pytest
from core_node import POD, SECOND, Node, upserts
from fake_kernel import FakeKernel

from agent.model.change import Change, Upsert
from agent.model.facts import PodCgroup

SERVICES = 1000
LATER = """
apiVersion: v1
kind: Pod
metadata: {name: later, namespace: app, uid: u-2}
spec: {nodeName: here}
"""


@pytest.fixture
async def busy() -> AsyncIterator[Node]:
    """A node that has begun to take in many Services, and knows a pod that has no cgroup yet."""
    node = Node(FakeKernel(frontends=2 * SERVICES, slots=4 * SERVICES))
    await node.synced()
    node.manifests.say(*upserts(LATER))
    await node.passes()
    many: list[Change] = []
    for number in range(SERVICES):
        text = SECOND.replace("other", f"other-{number}").replace("10.96.0.2", f"10.97.{number // 250}.{number % 250}")
        many += upserts(text)
    node.manifests.say(*many)
    await node.until(lambda: node.core.intake.behind)
    yield node
    await node.kill()


async def test_a_pod_is_enrolled_in_the_midst_of_a_pass(busy: Node) -> None:
    busy.facts.say(Upsert(PodCgroup("u-2", 43)))
    await busy.until(lambda: 43 in busy.kernel.pods.rows)
    assert len(busy.kernel.frontends.rows) < SERVICES
    await busy.until(lambda: len(busy.kernel.frontends.rows) == SERVICES + 1 and busy.core.ready)
    assert busy.kernel.pods.rows.keys() == {POD.cgroup_id, 43}


async def test_a_kernel_that_refuses_a_pod_in_the_midst_of_a_pass_loses_nothing(busy: Node) -> None:
    busy.kernel.fuse.left = 0
    busy.facts.say(Upsert(PodCgroup("u-2", 43)))
    await busy.until(lambda: 43 in busy.core.datapath.desired_pods)
    await busy.passes()
    busy.kernel.fuse.left = None
    await busy.until(lambda: len(busy.kernel.frontends.rows) == SERVICES + 1 and busy.core.ready)
    assert busy.kernel.pods.rows.keys() == {POD.cgroup_id, 43}


async def test_a_pod_does_not_wait_for_a_listener_that_is_tried(node: Node) -> None:
    await node.synced()
    node.manifests.say(*upserts(LATER))
    node.answers.clear()
    node.ads.acknowledges = True
    node.core.wake()
    await node.until(lambda: node.tried)
    node.facts.say(Upsert(PodCgroup("u-2", 43)))
    await node.until(lambda: 43 in node.kernel.pods.rows)
    assert len(node.tried) == 1, "it is still tried"
