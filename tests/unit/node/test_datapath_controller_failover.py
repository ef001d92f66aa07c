"""The loop and several Envoys: a standby takes over, and the draining one gets no new connections."""

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.ir.tables import OTHER_WAYPOINTS, Action, FrontendAction, Mode
from agent.model.change import Delete
from agent.model.meta import Key
from agent.node.status import Envoys, status
from agent.waypoint import readiness
from support.fakes.node import BLUE, GREEN, LISTENER, LOST, OTHER, ROUTE, SECOND, TEXT, Node, upserts


def waypoint(node: Node) -> tuple[str, list[str]]:
    serving, other_addresses = node.kernel.configuration().waypoints()
    return str(serving), other_addresses


async def test_a_second_envoy_takes_over_when_it_serves_what_the_first_one_does(node: Node):
    await node.synced()
    await node.serving()
    assert waypoint(node) == (BLUE.addresses.ipv4, [])
    node.silent = {GREEN.addresses.ipv4}
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    assert waypoint(node) == (BLUE.addresses.ipv4, [GREEN.addresses.ipv4])
    writes = node.kernel.writes
    node.silent = set()
    await node.until(lambda: waypoint(node) == (GREEN.addresses.ipv4, [BLUE.addresses.ipv4]))
    assert node.controller.machine.failover.draining == [BLUE]
    assert node.kernel.writes == writes, "one store of the configuration moves everybody"
    await node.passes()
    assert (waypoint(node)[0], node.action()) == (GREEN.addresses.ipv4, FrontendAction(Action.WAYPOINT))


async def test_a_standby_takes_over_once_what_it_does_not_serve_is_not_wanted_any_more(node: Node):
    await node.synced(TEXT + "---" + SECOND + "---" + ROUTE.replace("web", "other"))
    await node.serving()
    await node.until(lambda: node.kernel.reach(OTHER, Mode.L7)[0] == FrontendAction(Action.WAYPOINT))
    node.deaf = {(GREEN.addresses.ipv4, node.ads.ports["app/other:80"])}
    node.ads.envoys.append(GREEN)
    node.wake()
    await node.until(lambda: (GREEN.addresses.ipv4, node.ads.ports[LISTENER]) in node.accepted)
    await node.passes()
    assert waypoint(node)[0] == BLUE.addresses.ipv4
    node.manifests.send(Delete(Key("HTTPRoute", "app", "other")))
    await node.until(lambda: waypoint(node)[0] == GREEN.addresses.ipv4)


async def test_an_agent_that_comes_back_does_not_go_back_to_the_draining_envoy(node: Node):
    await node.synced()
    await node.serving()
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    await node.until(lambda: waypoint(node)[0] == GREEN.addresses.ipv4)
    await node.kill()
    later = Node(node.kernel)
    later.listens = later.ads.acknowledges = True
    await later.synced()
    await later.passes()
    assert waypoint(later) == (GREEN.addresses.ipv4, [BLUE.addresses.ipv4])
    later.ads.envoys.append(GREEN)
    await later.passes()
    assert later.controller.machine.failover.draining == [BLUE]
    await later.kill()


async def test_when_the_one_that_serves_is_lost_another_takes_its_place(node: Node):
    await node.synced()
    await node.serving()
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    await node.until(lambda: waypoint(node)[0] == GREEN.addresses.ipv4)
    node.ads.envoys, node.silent = [BLUE], {GREEN.addresses.ipv4}
    node.wake()
    await node.until(lambda: waypoint(node)[0] == BLUE.addresses.ipv4)
    await node.passes()
    assert (node.controller.machine.lost, node.action()) == (False, FrontendAction(Action.WAYPOINT))


async def test_a_lost_waypoint_comes_back_at_another_address(node: Node):
    await node.synced()
    await node.serving()
    node.listens, node.ads.envoys = False, []
    node.wake()
    await node.until(lambda: node.controller.machine.lost and node.action() == LOST)
    node.ads.envoys = [GREEN]
    await node.serving()
    assert (waypoint(node)[0], node.controller.machine.lost) == (GREEN.addresses.ipv4, False)


async def test_every_waypoint_is_protected_and_one_without_room_is_reported(node: Node):
    await node.synced()
    await node.serving()
    others = [
        Envoy(number, f"e{number}", Addresses(f"10.1.2.{number + 8}")) for number in range(2, OTHER_WAYPOINTS + 3)
    ]
    node.silent = {envoy.addresses.ipv4 for envoy in others}
    await node.passes(lambda: node.ads.envoys.extend(others[:-1]))
    addresses = sorted(envoy.addresses.ipv4 for envoy in others)
    assert (waypoint(node)[0], sorted(waypoint(node)[1])) == (BLUE.addresses.ipv4, addresses[:-1])
    assert node.controller.datapath.unprotected == {}
    await node.passes(lambda: node.ads.envoys.append(others[-1]))
    (reported,) = status(node.controller, "here", Envoys({}, [], [], {}), InternalErrors())["failures"].items()
    (left,) = set(addresses) - set(waypoint(node)[1])
    assert reported == (f"waypoint {left}", "weft_config has room for 8 other waypoints: pods can dial it")


async def test_what_a_standby_proved_of_a_listener_that_left_is_forgotten(node: Node, monkeypatch: pytest.MonkeyPatch):
    """The listener comes back at another port, where the standby has not been tried yet."""
    monkeypatch.setattr(readiness, "LISTENER_GRACE_SECONDS", 0.1)
    other = upserts(ROUTE.replace("web", "other"))
    await node.synced(TEXT + "---" + SECOND + "---" + ROUTE.replace("web", "other"))
    await node.serving()
    await node.until(
        lambda: node.controller.machine.ready == {(name, Family.IPV4) for name in (LISTENER, "app/other:80")}
    )
    left, kept = node.ads.ports["app/other:80"], node.ads.ports[LISTENER]
    node.deaf = {(GREEN.addresses.ipv4, port) for port in range(20_000, 20_010)} - {(GREEN.addresses.ipv4, left)}
    node.ads.envoys = [BLUE, GREEN]
    node.wake()
    await node.until(lambda: (GREEN.addresses.ipv4, left) in node.accepted)
    node.manifests.send(Delete(Key("HTTPRoute", "app", "other")))
    await node.until(lambda: "app/other:80" not in node.ads.ports)
    node.manifests.send(*other)
    await node.until(lambda: node.ads.ports.get("app/other:80", left) != left)
    node.deaf -= {(GREEN.addresses.ipv4, kept)}
    node.ads.envoys = [GREEN]
    node.silent = {BLUE.addresses.ipv4}
    node.wake()
    only = {(LISTENER, Family.IPV4)}
    await node.until(lambda: waypoint(node)[0] == GREEN.addresses.ipv4 and only <= node.controller.machine.ready)
    assert node.controller.machine.ready == only
    assert node.kernel.reach(OTHER, Mode.L7)[0].kind is not Action.WAYPOINT
