"""Who may connect to waypoints: written before Envoy hears of it, kept as wanted, and bounded."""

from collections.abc import AsyncIterator

import pytest

from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import address_bytes
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel
from support.fakes.node import TEXT, Node, upserts

FIRST, SECOND, OWN = map(address_bytes, ("10.1.0.1", "10.1.0.2", "10.99.0.1"))
LATER = """
apiVersion: v1
kind: Pod
metadata: {name: later, namespace: app, uid: u-2}
spec: {nodeName: here}
status: {phase: Running, podIP: 10.1.0.2}
"""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node(FakeKernel(), own=["10.99.0.1"])
    await made.synced(TEXT)
    yield made
    await made.kill()


async def test_a_pod_of_this_node_and_the_agent_may_connect(node: Node) -> None:
    assert node.kernel.clients.rows.keys() == {FIRST, OWN}
    node.manifests.send(*upserts(LATER))
    node.facts.send(Upsert(PodCgroup("u-2", 43)))
    await node.until(lambda: SECOND in node.kernel.clients.rows)
    node.manifests.send(Delete(Key("Pod", "app", "later")))
    await node.until(lambda: SECOND not in node.kernel.clients.rows)
    assert node.kernel.clients.rows.keys() == {FIRST, OWN}


async def test_the_kernel_knows_a_client_before_envoy(node: Node) -> None:
    published: list[bool] = []
    publish = node.ads.publish

    async def watched(resources, ports) -> None:
        if "10.1.0.2" in str(resources.get(ResourceName(ResourceType.EXTENSION, "client-allow-list"))):
            published.append(SECOND in node.kernel.clients.rows)
        await publish(resources, ports)

    node.ads.publish = watched
    node.manifests.send(*upserts(LATER))
    node.facts.send(Upsert(PodCgroup("u-2", 43)))
    await node.until(lambda: published)
    assert all(published)


async def test_what_an_earlier_agent_left_is_taken_over_and_an_audit_mends_the_list() -> None:
    kernel = FakeKernel()
    kernel.clients.rows = {SECOND: True, OWN: True}
    node = Node(kernel, audit_seconds=0.05, own=["10.99.0.1"])
    await node.synced(TEXT)
    assert kernel.clients.rows.keys() == {FIRST, OWN}
    node.drifts.clear()
    del kernel.clients.rows[FIRST]
    kernel.clients.rows[SECOND] = True
    await node.until(lambda: 2 in node.drifts)
    await node.until(lambda: kernel.clients.rows.keys() == {FIRST, OWN})
    await node.kill()


async def test_what_has_no_room_is_reported_and_takes_nobody_s_place(node: Node) -> None:
    many = [f"10.2.{number // 250}.{number % 250}" for number in range(node.kernel.clients.capacity)]
    pod = LATER.replace("podIP: 10.1.0.2", "podIPs: [" + ", ".join(f"{{ip: {ip}}}" for ip in many) + "]")
    node.manifests.send(*upserts(pod))
    node.facts.send(Upsert(PodCgroup("u-2", 43)))
    await node.until(lambda: node.controller.failures)
    assert {OWN, FIRST} <= node.kernel.clients.rows.keys()
    assert len(node.kernel.clients.rows) == node.kernel.clients.capacity
    assert set(node.controller.failures.values()) == {"no room for more than 64 clients of waypoints"}
    assert len(node.controller.failures) == 2
    node.manifests.send(*upserts(LATER))
    await node.until(lambda: not node.controller.failures)
    assert node.kernel.clients.rows.keys() == {FIRST, SECOND, OWN}
