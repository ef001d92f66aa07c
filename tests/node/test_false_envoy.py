"""A process that can reach the agent's socket, as a compromised Envoy can, and claims to be another waypoint."""

import time

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from agent.ir.resources import ResourceType
from agent.settings import XDS_SOCKET
from agent.waypoint.server import METHOD, SERVICE
from support.node.lab_handle import FACES, LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

PATIENCE = 20.0


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The faces with the agent and its waypoint."""
    lab = make_lab("false", [FACES], agent=True)
    settle(lab, lambda status: status["waypoint"]["connected"])
    return lab


def connect(mesh: LabHandle, node_id: str, **metadata: str) -> grpc.RpcError:
    """How the agent ends the stream of an Envoy that says this."""
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=ResourceType.LISTENER)
    request.node.id = node_id
    for name, value in metadata.items():
        request.node.metadata.fields[name].string_value = value
    with grpc.insecure_channel(f"unix:{mesh.paths.state / XDS_SOCKET}") as channel:
        call = channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )(iter([request]), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        return caught.value


@pytest.mark.parametrize(
    ("node_id", "metadata", "field"),
    [
        ("weft-waypoint-3", {"address": "10.244.0.77", "started": "later"}, "node.metadata.started"),
        ("weft-waypoint-3", {"address": "10.244.0.77"}, "node.metadata.address"),
        ("../../precious", {"address": "10.244.0.2"}, "node.id"),
    ],
)
def test_it_is_refused_and_nobody_moves(mesh: LabHandle, node_id: str, metadata: dict[str, str], field: str) -> None:
    newest = {"started": str(time.monotonic_ns())}
    error = connect(mesh, node_id, **(newest | metadata))
    assert (error.code(), field in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    waypoint = mesh.status()["waypoint"]
    assert (waypoint["addresses"], waypoint["connected"], waypoint["standby"]) == (["10.244.0.2"], True, None)
    assert "Traceback" not in mesh.log("agent")
