"""Where the node's waypoints are, as translation is told: no slice has them as an endpoint."""

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.tables import Action, FrontendAction, Mode, Reason, address_text
from agent.node.status import Envoys, status
from support.fakes.node import WEB, Node


async def test_a_waypoint_is_nobody_s_endpoint(node: Node):
    await node.synced()
    before = node.kernel.reach(WEB, Mode.L4)[2]
    elsewhere = Envoy(3, "endpoint", Addresses("10.1.0.7"))
    assert {address_text(address) for address, _, _ in before} == {elsewhere.addresses.ipv4}
    node.silent = {elsewhere.addresses.ipv4}
    await node.passes(lambda: node.ads.envoys.append(elsewhere))
    assert node.action(Mode.L4) == FrontendAction(Action.REJECT, Reason.NO_BACKEND)
    (warning,) = status(node.controller, "here", Envoys({}, [], [], {}), InternalErrors())["warnings"]
    assert warning.endswith("addresses[0]: 10.1.0.7 is not used: it is an address of this node's waypoint")
