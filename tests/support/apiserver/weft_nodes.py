"""WeftNodes for tests: as an agent writes them, and as an API server refuses them."""

from typing import Any

from agent.kube.client import ApiServer
from agent.kube.errors import ApiError
from agent.model.weft_node import (
    Owner,
    ParentPort,
    RejectedResource,
    RouteGeneration,
    WeftNode,
    WeftNodeMetadata,
    WeftNodeStatus,
)
from support.apiserver.process import Cluster

NODES = ("n1", "n2")
FOREIGN = "metadata.name: must be the node of the agent's own token"


async def refusal(api: ApiServer, method: str, path: str, body: Any, kind: str = "application/json") -> str:
    """Status and message of a refused request; empty when it is not refused."""
    try:
        await api.send(method, path, body, kind)
    except ApiError as error:
        return str(error)
    return ""


def uid(cluster: Cluster, name: str) -> str:
    return str(cluster.request("GET", f"/api/v1/nodes/{name}")["metadata"]["uid"])


def node(cluster: Cluster, name: str, *rejected: RejectedResource) -> WeftNode:
    owner = Owner("v1", "Node", name, uid(cluster, name))
    return WeftNode(WeftNodeMetadata(name, (owner,)), WeftNodeStatus(rejected, len(rejected)))


def head(cluster: Cluster, name: str, **metadata: Any) -> dict[str, Any]:
    """An object as agents create it, with other metadata."""
    document = node(cluster, name).document()
    return {key: value for key, value in document.items() if key != "status"} | {
        "metadata": document["metadata"] | metadata
    }


def rejected(route: str = "web", generation: int = 1, space: str = "app") -> RejectedResource:
    parent = ParentPort("Service", space, "web", 80)
    routes = (RouteGeneration("HTTPRoute", space, route, generation),)
    return RejectedResource("Listener", f"{space}/web:80", "cannot bind", parent, routes)
