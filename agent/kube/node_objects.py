"""Where agents that follow the Kubernetes API store the WeftNode of their node."""

import msgspec

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.weft_node import VERSION, WeftNode

PATH = f"/apis/{VERSION}/weftnodes"


async def write_to_api(api: ApiServer, node: WeftNode) -> None:
    """Make the object's status so, and the object where there is none. Raises `ApiError`, `msgspec.DecodeError`.

    A patch that changes nothing is no write of the server's. An agent reads nothing, and cannot change an object's
    owner: one of a former Node of this name fails until the garbage collector has deleted it.
    """
    if not node.metadata.owner_references:
        raise ApiError(404, f"Node {node.metadata.name} is not known")
    try:
        stored = await _patch(api, node)
    except ApiError as error:
        if error.status != 404:
            raise
        document = node.document()
        await api.send("POST", PATH, {name: value for name, value in document.items() if name != "status"})
        stored = await _patch(api, node)
    if stored.metadata.owner_references != node.metadata.owner_references:
        raise ApiError(409, f"WeftNode {node.metadata.name} belongs to a former Node of this name")


async def _patch(api: ApiServer, node: WeftNode) -> WeftNode:
    body = {"status": node.document()["status"]}
    answer = await api.send("PATCH", f"{PATH}/{node.metadata.name}/status", body, MERGE_PATCH)
    return msgspec.json.decode(answer, type=WeftNode)
