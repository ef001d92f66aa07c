"""The startup taint: removed from a node once its agent is ready. Pure: no I/O.

An agent is ready when the kernel has everything that the agent knows (`/readyz`). The kubelet registers a node with the
taint by `--register-with-taints`. Only the controller may write nodes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.controller.status_store import Write
from agent.kube.collection import Collection, collection
from agent.model.change import Change, Delete, Keyed, Problem, Upsert
from agent.model.core import Pod
from agent.model.meta import WEFT_NAMESPACE, Key, Value
from agent.translate.enrolment import AGENT, NAME_LABEL, is_weft_component

TAINT = "weft.dev/agent-not-ready"
KINDS = frozenset({"Node", "Pod"})


class Metadata(Value, frozen=True):
    """A node's name, resourceVersion and creation time."""

    name: str
    resource_version: str = ""
    creation_timestamp: str = ""


class Spec(Value, frozen=True):
    """The taints. Those of others are written back unchanged."""

    taints: list[dict[str, Any]] | None = None


class TaintedNode(Value, frozen=True):
    """A node, as far as its taints."""

    metadata: Metadata
    spec: Spec = Spec()

    @property
    def key(self) -> Key:
        """The node's key."""
        return Key("Node", "", self.metadata.name)

    @property
    def path(self) -> str:
        """The node's path in the API."""
        return f"/api/v1/nodes/{self.metadata.name}"


class TaintStore:
    """Nodes and agents, and the nodes whose taint has to be removed."""

    def __init__(self) -> None:
        self._nodes: dict[Key, TaintedNode] = {}
        self._agents: dict[Key, Pod] = {}

    @property
    def targets(self) -> set[Key]:
        """All nodes."""
        return set(self._nodes)

    def update(self, change: Change) -> Key | None:
        """Apply a change of a node or an agent. Returns the node; None for other changes."""
        match change:
            case Upsert(TaintedNode() as node):
                self._nodes[node.key] = node
                return node.key
            case Upsert(Pod() as pod) if is_weft_component(pod, AGENT):
                self._agents[pod.key] = pod
                return Key("Node", "", pod.spec.node_name)
            case Delete(key):
                self._nodes.pop(key, None)
                self._agents.pop(key, None)
        return None

    def update_from_response(self, raw: bytes) -> None:
        """Store a node's state from the server's response. Raises `msgspec.DecodeError`."""
        node = msgspec.json.decode(raw, type=TaintedNode)
        self._nodes[node.key] = node

    def forget(self, target: Key) -> None:
        """The API server answered that the node does not exist."""
        self._nodes.pop(target, None)

    def path(self, target: Key) -> str | None:
        """A node's path; None if the node is not known."""
        node = self._nodes.get(target)
        return node.path if node else None

    def write(self, target: Key, _now: str) -> Write | None:
        """The patch that removes the taint; None if there is none, or no agent is ready. The API server rejects it
        where the node has changed since it was read.
        """
        node = self._nodes.get(target)
        taints = (node and node.spec.taints) or []
        others = [taint for taint in taints if taint.get("key") != TAINT]
        if node is None or others == taints or not self._has_ready_agent(node):
            return None
        version = {"resourceVersion": node.metadata.resource_version}
        return Write("PATCH", node.path, {"metadata": version, "spec": {"taints": others}})

    def _has_ready_agent(self, node: TaintedNode) -> bool:
        """Whether the node's agent is ready. An agent that is older than its Node ran on a former Node of that name."""
        return any(
            pod.ready
            and pod.spec.node_name == node.metadata.name
            and pod.metadata.creation_timestamp >= node.metadata.creation_timestamp
            for pod in self._agents.values()
        )


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        return (msgspec.json.decode(raw, type=TaintedNode),)
    except msgspec.DecodeError as error:
        return Problem(where, "Node", "$", str(error))


def taint_collections() -> tuple[Collection, ...]:
    """The collections of nodes and of agents."""
    agents = collection("Pod", {"labelSelector": f"{NAME_LABEL}={AGENT}"}, WEFT_NAMESPACE)
    return (Collection("Node", ("v1",), _read), agents)
