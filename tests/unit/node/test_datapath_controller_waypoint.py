"""The loop and its Envoys: when clients are sent there, and what happens when one fails."""

import asyncio

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import OTHER_WAYPOINTS, Action, FrontendAction, Mode, address_bytes
from agent.model.change import Delete
from agent.model.meta import Key
from agent.node.status import Envoys, rejected_kinds, status
from agent.waypoint import readiness
from agent.waypoint.readiness import Phase
from support.fakes.kernel import FakeKernel
from support.fakes.node import BLUE, GREEN, LISTENER, LOST, OTHER, ROUTE, SECOND, TEXT, WEB, Node, upserts


async def test_traffic_flips_only_when_envoy_has_acknowledged_and_accepts(node: Node):
    await node.synced()
    assert ResourceType.LISTENER in {name.kind for name in node.ads.resources}
    node.listens = True
    await node.passes()
    assert (node.action().kind, node.tried) == (Action.FORWARD, [])
    node.listens, node.ads.acknowledges = False, True
    await node.passes()
    assert node.tried
    assert node.action().kind is Action.FORWARD
    await node.serving()
    assert set(node.tried) == {node.ads.ports[LISTENER]}
    assert node.kernel.reach(WEB, Mode.L7)[1].waypoint_port == node.ads.ports[LISTENER]


async def test_a_listener_that_does_not_answer_yet_is_tried_again_without_being_asked(node: Node):
    node.ads.acknowledges = True
    await node.synced()
    await node.until(lambda: len(node.tried) > 1)
    node.listens = True
    await node.until(lambda: node.action() == FrontendAction(Action.WAYPOINT))


async def test_a_change_is_on_its_way_until_the_kernel_has_it_and_envoy_has_answered(node: Node):
    await node.synced()
    await node.passes()
    assert node.controller.reconciling
    node.ads.rejected = dict.fromkeys(node.ads.resources, "no")
    await node.until(lambda: not node.controller.reconciling)
    node.ads.rejected = {}
    await node.serving()
    await node.until(lambda: not node.controller.reconciling)
    node.ads.acknowledges = False
    await node.until(lambda: node.controller.reconciling)
    node.ads.acknowledges = True
    await node.until(lambda: not node.controller.reconciling)


async def test_a_listener_that_became_ready_is_on_its_way_until_the_kernel_sends_clients_to_it(node: Node):
    await node.synced()
    await asyncio.sleep(0.1)  # until the datapath's own passes are over
    node.listens = node.ads.acknowledges = True
    node.controller.waypoint.wake()
    while node.controller.machine.phases().get(LISTENER) is not Phase.READY:
        await asyncio.sleep(0)
    while node.controller.reconciling:
        await asyncio.sleep(0)
    assert node.action() == FrontendAction(Action.WAYPOINT)


async def test_the_policy_applies_when_the_waypoint_is_lost_until_it_is_back(node: Node):
    await node.synced()
    await node.serving()
    node.listens, node.ads.envoys = False, []
    node.wake()
    await node.until(lambda: (node.controller.machine.lost, node.action(), node.action(Mode.L4)) == (True, LOST, LOST))
    node.ads.envoys = [BLUE]
    await node.passes()
    assert node.action() == LOST, "connected is not yet listening"
    await node.serving()
    assert not node.controller.machine.lost


async def test_on_loss_kernel_lets_the_kernel_serve(node: Node):
    relaxed = TEXT.replace("{name: web, namespace: app}", "{name: web, namespace: app, annotations: {A}}", 1)
    relaxed = relaxed.replace("{A}", "{weft.dev/on-waypoint-loss: kernel}")
    await node.synced(relaxed)
    await node.serving()
    node.listens, node.ads.envoys = False, []
    node.wake()
    await node.until(lambda: node.controller.machine.lost and node.action().kind is Action.FORWARD)


async def test_a_broken_stream_is_no_loss_while_envoy_serves(node: Node):
    await node.synced()
    await node.serving()
    node.ads.envoys = []
    await node.passes()
    assert (node.controller.machine.lost, node.action()) == (False, FrontendAction(Action.WAYPOINT))


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


async def test_a_waypoint_that_the_agent_may_not_try_yet_is_not_lost(node: Node):
    await node.synced()
    await node.serving()
    node.refused, node.ads.envoys = True, []
    await node.passes()
    assert (node.controller.machine.lost, node.action()) == (False, FrontendAction(Action.WAYPOINT))
    node.refused = node.listens = False
    await node.until(lambda: (node.controller.machine.lost, node.action()) == (True, LOST))


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


async def test_a_listener_lingers_for_those_who_are_connected(node: Node):
    await node.synced()
    await node.serving()
    node.manifests.send(Delete(Key("HTTPRoute", "app", "web")))
    await node.until(lambda: node.action().kind is Action.FORWARD)
    assert ResourceName(ResourceType.LISTENER, LISTENER) in node.ads.resources
    assert LISTENER in node.ads.ports
    await node.until(lambda: node.controller.machine.phases()[LISTENER] is Phase.DRAINING)


async def test_a_listener_without_room_is_said_and_its_policy_applies():
    node = Node(FakeKernel())
    node.ads.envoys = [Envoy(1, "small", BLUE.addresses, max_listeners=2)]
    more = SECOND + "---" + ROUTE.replace("web", "other")
    await node.synced(TEXT + "---" + more)
    await node.passes()
    assert set(node.controller.machine.rejected_listeners) == {LISTENER}, "the first by name has the place"
    assert (node.action(), node.controller.datapath.pending, node.controller.ready) == (LOST, 0, True)
    node.ads.envoys = [Envoy(1, "small", BLUE.addresses, max_listeners=4)]
    await node.serving()
    assert node.controller.machine.rejected_listeners == {}
    await node.kill()


async def test_a_service_without_room_for_its_configuration_is_told_and_its_policy_applies():
    node = Node(FakeKernel(), configuration=8000)
    await node.synced(TEXT)
    await node.passes()
    clients = {ResourceName(ResourceType.EXTENSION, f"client-{name}") for name in ("allow-list", "identities")}
    assert node.ads.resources.keys() == clients | {ResourceName(ResourceType.RUNTIME, "weft")}
    assert (node.action(), node.controller.datapath.pending, node.controller.ready) == (LOST, 0, True)
    assert "budget of configuration: namespace app has 0" in node.controller.failures[LISTENER]
    node.manifests.send(Delete(Key("HTTPRoute", "app", "web")))
    await node.until(lambda: node.action().kind is Action.FORWARD)
    await node.until(lambda: not node.controller.failures)
    await node.kill()


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


MOVED = SECOND.replace("10.1.0.7", "10.1.0.8")


async def test_endpoints_of_another_service_do_not_wait_for_a_probe_without_an_answer(node: Node):
    """By the order of events: the probe is let go only after the kernel has the change."""
    await node.synced(TEXT + "---" + SECOND)
    node.answers.clear()
    node.ads.acknowledges = True
    node.wake()
    await node.until(lambda: node.tried)
    node.manifests.send(*upserts(MOVED))
    backend = (address_bytes("10.1.0.8"), 8080, False)
    await node.until(lambda: node.kernel.reach(OTHER, Mode.L4)[2] == {backend})
    node.listens = True
    node.answers.set()
    await node.until(lambda: node.action() == FrontendAction(Action.WAYPOINT))


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


async def test_routes_whose_table_envoy_refuses_are_shown_so_and_others_are_not(node: Node):
    await node.synced(TEXT + "---" + SECOND + "---" + ROUTE.replace("web", "other"))
    await node.serving()
    assert set(shown_conditions(node, {})) == {"web", "other"}
    refused = {ResourceName(ResourceType.ROUTE, LISTENER): "missing )"}
    found = shown_conditions(node, refused)
    assert found["web"]["Programmed"] == ("False", "RejectedByEnvoy", f"RouteConfiguration {LISTENER}: missing )")
    assert "Programmed" not in found["other"]
    cluster = ResourceName(ResourceType.CLUSTER, "app/other:80/http")
    refused[cluster] = "bad"
    assert shown_conditions(node, refused)["other"]["Programmed"] == ("False", "RejectedByEnvoy", f"{cluster}: bad")
    assert found["web"]["Accepted"][0] == "True", "what the API's status says is left as it is"
    assert rejected_kinds(refused) == {
        "Cluster": 1,
        "ClusterLoadAssignment": 0,
        "TypedExtensionConfig": 0,
        "Listener": 0,
        "RouteConfiguration": 1,
        "Runtime": 0,
    }


def shown_conditions(node: Node, rejected: dict[ResourceName, str]) -> dict[str, dict[str, tuple[str, str, str]]]:
    """By Route and type: the conditions that `weft status` shows."""
    document = status(node.controller, "here", Envoys(rejected, [], [], {}), InternalErrors())
    return {
        route["name"]: {
            item["type"]: (item["status"], item["reason"], item["message"]) for item in parent["conditions"]
        }
        for route in document["routes"]
        for parent in route["parents"]
    }
