"""An Envoy that somebody has taken over: what it says of itself, on a real stream, and what it puts into the folder."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceType
from agent.waypoint import admin
from agent.waypoint.node import NodeError, identify
from agent.waypoint.process import is_draining, set_draining
from agent.waypoint.server import METHOD, SERVICE, AdsServer
from agent.waypoint.stale_files import is_served, remove_stale_files

ALLOWED = ["10.1.0.2", "fd00::2"]
GOOD = {"address": "10.1.0.2", "started": "7", "room": "100", "connections": "900"}


def request(node_id: str = "waypoint-x7z2p", **metadata: str) -> Any:
    made = discovery_pb2.DeltaDiscoveryRequest(type_url=ResourceType.LISTENER)
    made.node.id = node_id
    for name, value in (GOOD | metadata).items():
        made.node.metadata.fields[name].string_value = value
    return made


@pytest.mark.parametrize(
    ("node_id", "metadata", "field"),
    [
        *((node_id, {}, "node.id") for node_id in ("", "../x", "a/b", ".", "..", "a\n", "a" * 300, "é", "-a", "a\0")),
        *(
            ("a", {"started": text}, "node.metadata.started")
            for text in ("abc", "-1", "1e3", "٣", "9" * 30, str(2**63))
        ),
        *(
            ("a", {name: text}, f"node.metadata.{name}")
            for name in ("room", "connections")
            for text in ("x", "-1", str(2**40), "1.0", " 1")
        ),
        *(("a", {"address": text}, "node.metadata.address") for text in ("10.1.0.9", "x", "127.0.0.1", "fd00::9")),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(node_id: str, metadata: dict[str, str], field: str) -> None:
    with pytest.raises(NodeError, match=field):
        identify(request(node_id, **metadata).node, Addresses(), ALLOWED)


@pytest.mark.parametrize("address", ["10.1.0.2", "fd00::2", "fd00:0::2"])
def test_a_waypoint_s_own_pod_is_taken(address: str) -> None:
    found = identify(request("weft-waypoint-x7z2p", address=address).node, Addresses(), ALLOWED)
    assert (found.id, found.started) == ("weft-waypoint-x7z2p", 7)
    assert (found.max_listeners, found.max_connections) == (100, 900)
    assert set(found.addresses) <= set(ALLOWED)


@pytest.mark.parametrize("addresses", ["10.1.0.2,fd00::2", "fd00:0::2,10.1.0.2"])
def test_a_pod_has_an_address_of_each_family(addresses: str) -> None:
    found = identify(request(addresses=addresses).node, Addresses(), ALLOWED)
    assert found.addresses == Addresses("10.1.0.2", "fd00::2")


@pytest.mark.parametrize("addresses", ["10.1.0.2,10.1.0.3", "10.1.0.2,x", "10.1.0.2,fd00::9", "fd00::2 10.1.0.2"])
def test_addresses_that_cannot_be_are_refused(addresses: str) -> None:
    with pytest.raises(NodeError, match=r"node\.metadata\.addresses"):
        identify(request(addresses=addresses).node, Addresses(), ALLOWED)


def test_where_no_waypoint_s_pod_is_known_any_address_is_taken() -> None:
    assert identify(request(address="10.9.9.9").node, Addresses(), ()).addresses == Addresses("10.9.9.9")
    assert identify(request(address="", started="", room="", connections="").node, Addresses("10.1.0.5"), ()) == Envoy(
        0, "waypoint-x7z2p", Addresses("10.1.0.5")
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AdsServer]:
    made = AdsServer(tmp_path / "xds.sock", Addresses(), allowed=lambda: ALLOWED)
    await made.publish({}, {})
    await made.start()
    yield made
    await made.stop()


async def connect(folder: Path, first: Any) -> None:
    """One Envoy's stream, until the agent answers or ends it. Raises `AioRpcError`."""
    async with aio.insecure_channel(f"unix:{folder / 'xds.sock'}") as channel:
        call = channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        await call.write(first)
        await call.read()


@pytest.mark.parametrize(
    ("node_id", "metadata"), [("../../x", {}), ("old", {"started": "abc"}), ("a", {"address": "10.1.0.9"})]
)
async def test_its_stream_ends_with_the_reason_and_nobody_else_s(
    server: AdsServer, tmp_path: Path, node_id: str, metadata: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await connect(tmp_path, request(node_id, **metadata))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "node." in (caught.value.details() or "")
    assert server.envoys == []
    warnings = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert [record.getMessage() for record in warnings] == ["waypoint refused: its node is not valid"]
    assert [record.exc_info for record in warnings] == [None]


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "waypoint"
    folder.mkdir()
    for name in ("old-retired", "old-retired.new"):
        (folder / name).symlink_to(precious)
    set_draining(folder, "old", draining=True)
    assert (precious.read_text(), (folder / "old-retired").is_symlink()) == ("precious", False)
    assert is_draining(folder, "old")
    assert {path.name for path in folder.iterdir()} == {"old-retired", "old-retired.new"}


def test_a_link_to_a_socket_is_not_connected_to(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()
        (tmp_path / "old-admin.sock").symlink_to(tmp_path / "other.sock")
        assert is_served(tmp_path / "other.sock")
        assert not is_served(tmp_path / "old-admin.sock")
        with pytest.raises(admin.AdminError, match="is no socket"):
            admin._exchange(tmp_path / "old-admin.sock", "POST", "/healthcheck/fail")


def test_a_file_of_a_strange_name_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.waypoint.stale_files.YOUNG_SECONDS", -1.0)
    for name in ("..json", "a.json", "-x.json"):
        (tmp_path / name).write_text("{}")
    assert remove_stale_files(tmp_path) == ["a"]
