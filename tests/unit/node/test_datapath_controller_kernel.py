"""The loop and its kernel: rejections, audits, what does not fit."""

import asyncio
from collections.abc import Callable

import pytest

from agent.datapath.authorization import Authorization
from agent.ir.tables import Action, Config
from agent.model.change import Delete, Synced, Upsert
from agent.model.facts import PodCgroup
from agent.node.budgets import document
from support.fakes.kernel import FakeKernel
from support.fakes.node import BLUE, OTHER, POD, SECOND, SERVICE, TEXT, WEB, Node, upserts


async def test_an_audit_heals_what_somebody_changed():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.synced()
    await node.until(lambda: node.drifts)
    assert set(node.drifts) == {0}
    del node.kernel.frontends.rows[WEB], node.kernel.pods.rows[42]
    await node.until(lambda: WEB in node.kernel.frontends.rows and 42 in node.kernel.pods.rows)
    assert max(node.drifts) == 2
    await node.until(lambda: node.drifts[-1] == 0)
    await node.kill()


async def test_the_programs_run_when_their_tables_are_full_and_again_when_somebody_took_them_away():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.start()
    node.manifests.send(*upserts(TEXT), Synced("manifests"))
    await node.passes()
    assert (node.attached, node.controller.ready) == ([], False)
    node.facts.send(Upsert(POD), Synced("node"))
    await node.until(lambda: node.controller.ready)
    assert node.attached == [("weft_connect4", len(node.kernel.frontends.rows))]
    assert len(node.kernel.frontends.rows) > 0
    node.detached = ["weft_sendmsg4"]
    await node.until(lambda: len(node.attached) == 2)
    await node.until(lambda: 1 in node.drifts)
    await node.kill()


async def test_an_audit_heals_the_configuration():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.synced()
    wanted = Config().with_waypoints(BLUE.addresses, ())
    await node.until(lambda: node.kernel.configuration() == wanted)
    node.kernel.configure(Config(first_level=7))
    await node.until(lambda: node.kernel.configuration() == wanted)
    assert max(node.drifts) == 1
    await node.kill()


@pytest.mark.parametrize("writes", range(6))
async def test_a_kernel_that_refuses_is_asked_again(node: Node, writes: int):
    node.kernel.fuse.left = writes
    await node.start()
    node.manifests.send(*upserts(TEXT), Synced("manifests"))
    node.facts.send(Upsert(POD), Synced("node"))
    await node.until(lambda: node.kernel.fuse.left == 0)
    await asyncio.sleep(0.05)
    node.kernel.fuse.left = None
    await node.until(lambda: node.controller.ready)
    assert node.action().kind is Action.FORWARD
    assert 42 in node.kernel.pods.rows


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.objects for record in caplog.records if record.message == "objects do not fit"]


async def test_what_does_not_fit_is_logged_once_and_the_agent_is_ready(caplog: pytest.LogCaptureFixture):
    node = Node(FakeKernel(frontends=2))
    await node.synced(TEXT + "---" + SECOND)
    for _ in range(3):
        await node.passes()
    assert (node.controller.ready, node.controller.failures.keys()) == (True, {"10.96.0.2:80/TCP"})
    assert node.kernel.frontends.rows.keys() == {WEB}
    assert complaints(caplog) == ["10.96.0.2:80/TCP"]
    node.manifests.send(Delete(SERVICE))
    await node.until(lambda: not node.controller.failures)
    assert node.kernel.frontends.rows.keys() == {OTHER}
    node.manifests.send(*upserts(TEXT))
    await node.until(lambda: complaints(caplog) == ["10.96.0.2:80/TCP", "10.96.0.1:80/TCP"])
    assert (node.controller.ready, node.controller.failures.keys()) == (True, {"10.96.0.1:80/TCP"})
    await node.kill()


async def test_what_a_budget_refuses_is_counted_by_namespace():
    node = Node(FakeKernel(frontends=2))
    await node.synced(TEXT + "---" + SECOND)
    await node.passes()
    rows = {row["resource"]: row for row in document(node.controller, Authorization(node.kernel))["budgets"]}
    assert rows["frontends"] == {
        "resource": "frontends",
        "namespace": "app",
        "used": 1,
        "limit": 1,
        "capacity": 2,
        "rejected": 1,
    }
    assert rows["listeners"]["used"] == 1
    await node.kill()


async def test_programs_run_although_a_pod_has_no_row():
    node = Node(FakeKernel(pods=1))
    second = Upsert(PodCgroup("u-2", 43))
    other_pod = TEXT.replace("name: client", "name: other").replace("u-1", "u-2").replace("10.1.0.1}", "10.1.0.2}")
    await node.start()
    node.manifests.send(*upserts(TEXT), *upserts(other_pod), Synced("manifests"))
    node.facts.send(Upsert(POD), second, Synced("node"))
    await node.until(lambda: node.controller.ready)
    assert node.attached
    assert (len(node.kernel.pods.rows), len(node.controller.failures)) == (1, 1)
    assert node.kernel.frontends.rows.keys() == {WEB}
    await node.kill()


@pytest.fixture
def unreadable(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The kernel's pods cannot be read at first; how often it was tried."""
    tried: list[int] = []
    load: Callable[[], dict[int, object]] = node.kernel.pods.load

    def fail() -> dict[int, object]:
        tried.append(1)
        if len(tried) < 4:
            raise OSError(4, "interrupted")
        return load()

    monkeypatch.setattr(node.kernel.pods, "load", fail)
    return tried


async def test_tables_that_cannot_be_read_are_read_again(node: Node, unreadable: list[int]):
    await node.synced()
    assert len(unreadable) >= 4
    assert node.action().kind is Action.FORWARD


async def test_a_change_is_on_its_way_while_tables_cannot_be_read(node: Node, monkeypatch: pytest.MonkeyPatch):
    await node.synced()
    await node.serving()
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise OSError(4, "interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(node.kernel.pods, "load", fail)
        patch.setattr(node.kernel.frontends, "upsert", lambda _: fail())
        node.manifests.send(*upserts(SECOND))
        await node.until(lambda: tried)
        while len(tried) < 3:
            assert node.controller.reconciling
            await asyncio.sleep(0)
    await node.until(lambda: not node.controller.reconciling)


async def test_without_pods_cgroups_it_is_not_ready_and_tries_again():
    node = Node(FakeKernel())
    node.attachable = False
    await node.start()
    node.manifests.send(*upserts(TEXT), Synced("manifests"))
    node.facts.send(Upsert(POD), Synced("node"))
    await node.until(lambda: node.attempts > 2)
    assert not node.controller.ready
    node.attachable = True
    await node.until(lambda: node.controller.ready)
    assert [name for name, _ in node.attached] == ["weft_connect4"]
    await node.kill()
