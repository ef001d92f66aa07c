"""The loop and its Envoys: when clients are sent there, and what happens when one fails."""

import asyncio

from agent.internal_errors import InternalErrors
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import Action, FrontendAction, Mode, address_bytes
from agent.model.change import Delete
from agent.model.meta import Key
from agent.node.status import Envoys, rejected_kinds, status
from agent.waypoint.readiness import Phase
from support.fakes.kernel import FakeKernel
from support.fakes.node import BLUE, LISTENER, LOST, OTHER, ROUTE, SECOND, TEXT, WEB, Node, upserts


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


async def test_a_waypoint_that_the_agent_may_not_try_yet_is_not_lost(node: Node):
    await node.synced()
    await node.serving()
    node.refused, node.ads.envoys = True, []
    await node.passes()
    assert (node.controller.machine.lost, node.action()) == (False, FrontendAction(Action.WAYPOINT))
    node.refused = node.listens = False
    await node.until(lambda: (node.controller.machine.lost, node.action()) == (True, LOST))


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
