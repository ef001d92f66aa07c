"""The loop: what is written when, and what is kept."""

import asyncio

from agent.ir.tables import Action, FrontendAction
from agent.model.change import Delete, Problem, Resolved, Synced, Upsert
from support.fakes.node import LISTENER, POD, SERVICE, TEXT, WEB, Node, upserts


async def test_nothing_is_written_before_every_source_has_said_all_it_knows(node: Node):
    await node.start()
    node.manifests.send(*upserts(TEXT), Synced("manifests"))
    await node.passes()
    assert (node.kernel.writes, node.ads.resources, node.controller.synced, node.controller.ready) == (
        0,
        {},
        False,
        False,
    )
    node.facts.send(Upsert(POD), Synced("node"))
    await node.until(lambda: node.controller.ready)
    assert node.controller.synced
    assert node.kernel.pods.rows.keys() == {42}
    assert node.kernel.frontends.rows.keys() == {WEB}


async def test_rows_of_an_earlier_agent_are_deleted_only_after_everybody_has_synced(node: Node):
    await node.synced()
    await node.kill()
    later = Node(node.kernel)
    await later.start()
    later.manifests.send(*upserts(TEXT)[:1])
    later.facts.send(Synced("node"))
    await later.passes()
    assert WEB in node.kernel.frontends.rows
    later.manifests.send(Synced("manifests"))
    await later.until(lambda: later.controller.ready)
    assert not node.kernel.frontends.rows
    await later.kill()


async def test_what_is_gone_is_deleted(node: Node):
    await node.synced()
    node.manifests.send(Delete(SERVICE))
    node.facts.send(Delete(POD.key))
    await node.until(lambda: not node.kernel.frontends.rows and not node.kernel.pods.rows)


async def test_a_restart_changes_nothing(node: Node):
    await node.synced()
    await node.serving()
    await node.kill()
    before, port = node.kernel.writes, node.ads.ports[LISTENER]
    later = Node(node.kernel)
    await later.synced()
    assert later.action() == FrontendAction(Action.WAYPOINT), "nothing has proved itself, and nobody is moved"
    await later.serving()
    assert later.ads.ports == {LISTENER: port}
    assert node.kernel.writes == before
    await later.kill()


async def test_problems_are_kept_until_they_are_resolved(node: Node):
    await node.synced()
    problem = Problem("a.yaml:1", "Service app/x", "spec", "is wrong")
    node.manifests.send(problem)
    await node.until(lambda: node.controller.change_queue.problems == {"a.yaml:1": problem})
    node.manifests.send(Resolved("a.yaml:1"))
    await node.until(lambda: not node.controller.change_queue.problems)


async def test_the_loop_ends_when_it_is_told_to_while_it_is_woken(node: Node):
    await node.synced()
    await node.kill()
    loop = asyncio.create_task(node.controller.run())
    await asyncio.sleep(0.05)
    node.controller.wake()
    loop.cancel()
    done, _ = await asyncio.wait({loop}, timeout=2)
    if not done:
        loop.cancel()
    assert done
