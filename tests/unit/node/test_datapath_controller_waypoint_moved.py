"""The waypoint is at another address, or gone, when the agent starts again: clients are served all the same."""

import pytest

from agent.ir.tables import Action, FrontendAction, Mode
from agent.waypoint import failover
from support.fakes.node import BLUE, GREEN, LOST, OTHER, ROUTE, SECOND, TEXT, WEB, Node, upserts

WITHOUT_ROUTE = TEXT.replace(ROUTE, "")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Envoy that is away is given up early."""
    monkeypatch.setattr(failover, "REMEMBER_SECONDS", 0.2)


async def killed(node: Node, lost: bool, text: str = TEXT) -> None:
    """The agent is killed while clients are sent to BLUE, perhaps after BLUE was lost."""
    await node.synced(text)
    await node.serving()
    if lost:
        node.listens, node.ads.envoys = False, []
        node.wake()
        await node.until(lambda: node.action() == LOST)
    await node.kill()


def restarted(node: Node, *envoys: object) -> Node:
    """Another agent on the same kernel; these Envoys are connected to it, and BLUE's address is dead."""
    later = Node(node.kernel)
    later.ads.envoys = list(envoys)
    later.listens = later.ads.acknowledges = True
    later.silent = {BLUE.addresses.ipv4}
    return later


async def served_by(node: Node, address: str) -> None:
    configured = node.kernel.configuration
    await node.until(
        lambda: (str(configured().waypoints()[0]), node.action()) == (address, FrontendAction(Action.WAYPOINT))
    )
    assert node.kernel.reach(WEB, Mode.L7)[1].waypoint_port == next(iter(node.ads.ports.values()))
    assert not node.controller.machine.lost


@pytest.mark.parametrize("restarts", [1, 2])
async def test_a_waypoint_that_was_lost_comes_back_elsewhere_after_the_agent_restarted(node: Node, restarts: int):
    await killed(node, lost=True)
    for _ in range(restarts - 1):
        between = restarted(node)
        await between.synced()
        await between.kill()
    later = restarted(node)
    await later.synced()
    assert (later.controller.machine.lost, later.action()) == (True, LOST), "what is refused is not forgotten"
    later.ads.envoys = [GREEN]
    later.wake()
    await served_by(later, GREEN.addresses.ipv4)
    await later.kill()


@pytest.mark.parametrize("lost", [True, False])
async def test_a_waypoint_that_moved_while_the_agent_was_away_serves(node: Node, lost: bool):
    await killed(node, lost)
    later = restarted(node, GREEN)
    await later.synced()
    await served_by(later, GREEN.addresses.ipv4)
    await later.kill()


@pytest.mark.parametrize("restarts", [1, 2])
async def test_a_route_that_comes_after_the_waypoint_moved_has_effect(node: Node, soon: None, restarts: int):
    await node.synced(WITHOUT_ROUTE)
    await node.until(lambda: node.kernel.configuration().waypoints()[0] == BLUE.addresses)
    await node.kill()
    for _ in range(restarts - 1):
        between = restarted(node, GREEN)
        await between.synced(WITHOUT_ROUTE)
        await between.kill()
    later = restarted(node, GREEN)
    await later.synced(WITHOUT_ROUTE)
    later.manifests.send(*upserts(ROUTE))
    await served_by(later, GREEN.addresses.ipv4)
    await later.kill()


async def test_a_waypoint_that_goes_before_anybody_is_sent_there_leaves_its_place_to_an_older_one(
    node: Node, soon: None
):
    node.listens = node.ads.acknowledges = True
    node.ads.envoys = [GREEN]
    await node.synced(WITHOUT_ROUTE)
    node.ads.envoys = [BLUE]
    await node.passes()
    node.manifests.send(*upserts(ROUTE))
    await served_by(node, BLUE.addresses.ipv4)


async def test_a_route_that_came_while_the_agent_was_away_refuses_nobody(node: Node):
    """Free listener ports rest for a moment after a start: until the new listener has one the kernel serves."""
    await killed(node, False, f"{TEXT}---{SECOND}")
    later = restarted(node, BLUE)
    later.silent = set()
    actions: set[Action] = set()

    def arrived() -> bool:
        action, *_ = node.kernel.reach(OTHER, Mode.L7)
        actions.add(action.kind)
        return action == FrontendAction(Action.WAYPOINT)

    await later.synced(f"{TEXT}---{SECOND}---{ROUTE.replace('web', 'other')}")
    await later.until(arrived)
    assert actions == {Action.FORWARD, Action.WAYPOINT}
    await later.kill()
