"""Writes the WeftNode of a node to the Kubernetes API."""

import msgspec

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.weft_node import VERSION, WeftNode

PATH = f"/apis/{VERSION}/weftnodes"


async def write_to_api(api: ApiServer, node: WeftNode) -> None:
    """Patch the object's status; create the object if it does not exist. Raises `ApiError`, `msgspec.DecodeError`.

    The server does not store a patch that changes nothing. An agent may neither read the object nor change its owner.
    If the object belongs to a former Node of this name, this fails until the garbage collector has deleted it.
    """
    if not node.metadata.owner_references:
        raise ApiError(404, f"Node {node.metadata.name} is unknown")
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
