"""The startup taint: a node that registered with it is freed once its agent is ready. Pure: no I/O, no waiting.

Ready is an agent whose kernel has everything that it knows of (`/readyz`). The kubelet registers a node with taints of
ours by `--register-with-taints`; only the controller can write nodes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.controller.status_store import Write
from agent.kube.collection import Collection, collection
from agent.model.change import Change, Delete, Keyed, Problem, Upsert
from agent.model.core import Pod
from agent.model.meta import Key, Value
from agent.translate.enrolment import AGENT, NAME_LABEL, OWN_NAMESPACE, own

TAINT = "weft.dev/agent-not-ready"
KINDS = frozenset({"Node", "Pod"})


class NodeMetadata(Value, frozen=True):
    """Which node, in which version, since when."""

    name: str
    resource_version: str = ""
    creation_timestamp: str = ""


class NodeSpec(Value, frozen=True):
    """The taints, as they are: those of others are given back untouched."""

    taints: list[dict[str, Any]] | None = None


class Node(Value, frozen=True):
    """A node, as far as its taints."""

    metadata: NodeMetadata
    spec: NodeSpec = NodeSpec()

    @property
    def key(self) -> Key:
        """Its identity."""
        return Key("Node", "", self.metadata.name)

    @property
    def path(self) -> str:
        """Where it is in the API."""
        return f"/api/v1/nodes/{self.metadata.name}"


class TaintStore:
    """Every node and every agent, and which nodes are to be freed."""

    def __init__(self) -> None:
        self._nodes: dict[Key, Node] = {}
        self._agents: dict[Key, Pod] = {}

    @property
    def targets(self) -> set[Key]:
        """Every node."""
        return set(self._nodes)

    def take(self, change: Change) -> Key | None:
        """Note what a source said of a node or an agent; returns the node, None when it was about something else."""
        match change:
            case Upsert(Node() as node):
                self._nodes[node.key] = node
                return node.key
            case Upsert(Pod() as pod) if own(pod, AGENT):
                self._agents[pod.key] = pod
                return Key("Node", "", pod.spec.node_name)
            case Delete(key):
                self._nodes.pop(key, None)
                self._agents.pop(key, None)
        return None

    def absorb(self, raw: bytes) -> None:
        """Note a node's state as the server answered it. Raises `msgspec.DecodeError`."""
        node = msgspec.json.decode(raw, type=Node)
        self._nodes[node.key] = node

    def forget(self, target: Key) -> None:
        """A node turned out to be gone."""
        self._nodes.pop(target, None)

    def path(self, target: Key) -> str | None:
        """Where a node is, None when there is none."""
        node = self._nodes.get(target)
        return node.path if node else None

    def write(self, target: Key, _now: str) -> Write | None:
        """The patch that frees a node, None when it is free or has to wait. It fails when somebody wrote since."""
        node = self._nodes.get(target)
        taints = (node and node.spec.taints) or []
        others = [taint for taint in taints if taint.get("key") != TAINT]
        if node is None or others == taints or not self._has_ready_agent(node):
            return None
        version = {"resourceVersion": node.metadata.resource_version}
        return Write("PATCH", node.path, {"metadata": version, "spec": {"taints": others}})

    def _has_ready_agent(self, node: Node) -> bool:
        """Whether an agent is ready there. One that is older than its node was on a former node of that name."""
        return any(
            pod.ready
            and pod.spec.node_name == node.metadata.name
            and pod.metadata.creation_timestamp >= node.metadata.creation_timestamp
            for pod in self._agents.values()
        )


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        return (msgspec.json.decode(raw, type=Node),)
    except msgspec.DecodeError as error:
        return Problem(where, "Node", "$", str(error))


def taint_collections() -> tuple[Collection, ...]:
    """The nodes, and the agents of all of them."""
    agents = collection("Pod", {"labelSelector": f"{NAME_LABEL}={AGENT}"}, OWN_NAMESPACE)
    return (Collection("Node", ("v1",), _read), agents)
