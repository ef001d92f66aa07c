"""Builds the WeftNode of this node from what the parts of the agent know."""

import asyncio

from agent.model.core import Node
from agent.model.facts import NodeReport
from agent.model.weft_node import WeftNode
from agent.node.authorization_controller import AuthorizationController
from agent.node.datapath_controller import DatapathController
from agent.node.encryption_controller import EncryptionController
from agent.node.policy_reporter import PolicyReporter
from agent.node.weft_node import guard_status, weft_node, with_rejections
from agent.store.store import Store, TrackedView
from agent.waypoint.server import AdsServer

# All nodes process a change of a policy at about the same time, also those with nothing to report but that. The longer
# time that they take together keeps their writes to 50 a second in the cluster.
SECONDS_PER_NODE = 0.02


class WeftNodeBuilder:
    """What the parts of the agent know, as a WeftNode."""

    def __init__(
        self,
        node: str,
        store: Store,
        ads: AdsServer,
        controller: DatapathController,
        authorization: AuthorizationController,
        encryption: EncryptionController,
    ) -> None:
        """`node` is the name of the node."""
        self._node = node
        self._store = store
        self._ads = ads
        self._controller = controller
        self._authorization = authorization
        self._encryption = encryption
        reconciling, clock = lambda: controller.reconciling, asyncio.get_running_loop().time
        self._policies = PolicyReporter(store, authorization, reconciling, clock)

    @property
    def spread_seconds(self) -> float:
        """Within how many seconds the nodes shall write what only says that they have processed a change."""
        return SECONDS_PER_NODE * len(TrackedView(self._store).listed(NodeReport))

    async def build(self, complete: bool) -> WeftNode | None:
        """This node's WeftNode. None until all is known. `complete`: the same Envoys have been connected
        for long enough, so that what they have and refuse is known.
        """
        if not self._encryption.attempted:
            return None
        node = TrackedView(self._store).get(Node, "", self._node)
        waypoints, enforced = self._controller.datapath.waypoints, self._controller.waypoint.enforces_policies
        servers = self._authorization.desired.servers.values()
        state = guard_status(waypoints, enforced, servers, self._encryption.tunnels, self._policies.report(complete))
        if complete:
            rejected, dependencies = self._ads.rejected, self._controller.rendering.dependencies
            outputs = list(self._controller.change_queue.outputs.values()) if rejected else []
            state = await asyncio.to_thread(with_rejections, state, outputs, dependencies, rejected)
        return weft_node(self._node, node.metadata.uid if node else "", state)
