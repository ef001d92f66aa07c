"""WeftNodes on a real API server: who may write them, what they may contain, and how they end."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.kube.node_objects import PATH, write_to_api
from agent.kube.node_source import NodeSource
from agent.model.facts import NodeReport
from agent.model.meta import Key
from agent.model.weft_node import (
    MAX_ADDRESSES,
    MAX_GUARDED,
    MAX_KEY_GENERATION,
    MAX_KEYS,
    MAX_POLICIES,
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_SELECTING,
    MAX_TEXT,
    MAX_WAYPOINTS,
    Guarded,
    ParentPort,
    PolicyGeneration,
    RejectedResource,
    RouteGeneration,
    TunnelKey,
    Tunnels,
    WeftNode,
    WeftNodeMetadata,
    WeftNodeStatus,
)
from support.apiserver.manifests import account
from support.apiserver.objects import Follower
from support.apiserver.process import Cluster
from support.apiserver.weft_nodes import FOREIGN, head, node, refusal, rejected

POLICY = {"name": "p", "generation": 1}
PUBLIC_KEY = b64encode(bytes(32)).decode()
KEY = {"generation": 1, "publicKey": PUBLIC_KEY, "port": 51871}
SELECTING = {"namespace": "app", "name": "p", "generation": 1}
POLICIES = {"observed": "0" * 32, "count": 1, "selecting": [SELECTING]}
GUARDED = {"namespace": "app", "addresses": ["10.0.0.1"], "policies": [POLICY]}


async def test_an_agent_writes_the_object_of_its_node(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    for report in ((rejected(),), (), (rejected("other"), rejected())):
        written = node(installed, "n1", *report)
        await write_to_api(agents["n1"], written)
        assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode) == written


async def test_what_is_not_known_yet_stays_as_it_was_reported(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    written = node(installed, "n1", rejected())
    await write_to_api(agents["n1"], written)
    guarded = (Guarded("app", ("10.0.0.1",), (PolicyGeneration("p", 1),)),)
    await write_to_api(agents["n1"], replace(written, status=WeftNodeStatus(waypoints=("10.0.0.9",), guarded=guarded)))
    both = replace(written.status, waypoints=("10.0.0.9",), guarded=guarded)
    assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode).status == both


async def test_an_agent_follows_the_reports_of_all_nodes(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    guarded = (Guarded("app", ("10.0.2.1", "fd00::2"), (PolicyGeneration("p", 3),)),)
    tunnels = Tunnels((TunnelKey(1, PUBLIC_KEY, 51871),), (1,), "no WireGuard")
    status = WeftNodeStatus(waypoints=("10.0.2.9",), waypoint_policies=True, guarded=guarded, tunnels=tunnels)
    for name in ("n1", "n2"):
        await write_to_api(agents[name], replace(node(installed, name), status=status))
    follower = Follower(NodeSource(agents["n1"], "n1", 0))
    task = asyncio.ensure_future(follower.run())
    try:
        await follower.until(lambda: follower.synced and follower.names("NodeReport") == ["n1", "n2"])
        assert follower.values[Key("NodeReport", "", "n2")] == NodeReport("n2", ("10.0.2.9",), True, guarded, tunnels)
        await write_to_api(agents["n2"], node(installed, "n2", rejected()))
        await follower.until(lambda: follower.names("NodeReport") == ["n1"])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_has_not_changed_is_not_written(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    await write_to_api(agents["n1"], node(installed, "n1", rejected()))
    before = installed.request("GET", f"{PATH}/n1")["metadata"]["resourceVersion"]
    await write_to_api(agents["n1"], node(installed, "n1", rejected()))
    assert installed.request("GET", f"{PATH}/n1")["metadata"]["resourceVersion"] == before


async def test_no_agent_writes_another_node_s_object(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    foreign = node(installed, "n2", rejected())
    assert FOREIGN in await refusal(agents["n1"], "POST", PATH, head(installed, "n2"))
    await write_to_api(agents["n2"], foreign)
    for status in (
        {"rejected": [], "rejectedCount": 0},
        {"guarded": [GUARDED]},
        {"tunnels": {"keys": [KEY]}},
        {"policies": POLICIES},
    ):
        body = {"status": status}
        assert FOREIGN in await refusal(agents["n1"], "PATCH", f"{PATH}/n2/status", body, MERGE_PATCH)
    assert msgspec.convert(installed.request("GET", f"{PATH}/n2"), WeftNode) == foreign


async def test_a_token_of_no_node_writes_nothing(
    installed: Cluster, agents: dict[str, ApiServer], tmp_path: Path
) -> None:
    async with ApiServer(account(installed, "weft-agent", tmp_path), "weft-test") as api:
        assert FOREIGN in await refusal(api, "POST", PATH, head(installed, "n1"))
        await write_to_api(agents["n1"], node(installed, "n1"))
        assert FOREIGN in await refusal(api, "PATCH", f"{PATH}/n1/status", {"status": {}}, MERGE_PATCH)


async def test_an_agent_can_do_nothing_else_with_its_object(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    api, own = agents["n1"], f"{PATH}/n1"
    await write_to_api(api, node(installed, "n1"))
    labels = {"metadata": {"labels": {"a": "b"}}}
    for method, path, kind in (
        ("GET", own, "application/json"),
        ("DELETE", own, "application/json"),
        ("PATCH", own, MERGE_PATCH),
        ("PUT", f"{own}/status", "application/json"),
        ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/weftnodes.weft.dev", MERGE_PATCH),
    ):
        assert (await refusal(api, method, path, labels, kind)).startswith("403: "), (method, path)
    # Metadata is no part of the status.
    assert await refusal(api, "PATCH", f"{own}/status", labels | {"status": {}}, MERGE_PATCH) == ""
    assert "labels" not in installed.request("GET", own)["metadata"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"ownerReferences": []}, "metadata.ownerReferences: must be the Node of this name alone"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]},
            "metadata.ownerReferences: must be the Node of this name alone",
        ),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "n1", "uid": "u"}]},
            "metadata.ownerReferences: must be the Node of this name alone",
        ),
        ({"finalizers": ["example.org/never"]}, "metadata: must have no labels, annotations or finalizers"),
        ({"labels": {"a": "b"}}, "metadata: must have no labels, annotations or finalizers"),
        ({"annotations": {"a": "b"}}, "metadata: must have no labels, annotations or finalizers"),
    ],
)
async def test_an_object_has_no_metadata_but_its_owner(
    installed: Cluster, agents: dict[str, ApiServer], metadata: dict[str, Any], message: str
) -> None:
    assert message in await refusal(agents["n1"], "POST", PATH, head(installed, "n1", **metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": [{"type": "Listener", "name": "a", "message": "x" * (MAX_TEXT + 1)}]}, "rejected[0].message"),
        ({"rejected": [{"type": "Listener", "name": "x" * (MAX_TEXT + 1), "message": ""}]}, "rejected[0].name"),
        ({"rejected": [{"type": "Listener", "name": "a", "message": ""}] * (MAX_REJECTED + 1)}, "status.rejected"),
        ({"rejected": [{"type": "Listener", "name": "a"}]}, "rejected[0].message"),
        ({"rejected": "all"}, "status.rejected"),
        (
            {"rejected": [{"type": "L", "name": "a", "message": ""}], "rejectedCount": 0},
            "rejectedCount must be at least",
        ),
        ({"rejectedCount": -1}, "status.rejectedCount"),
        ({"waypoints": ["10.0.0.1"] * (MAX_WAYPOINTS + 1)}, "status.waypoints"),
        ({"guarded": [GUARDED] * (MAX_GUARDED + 1)}, "status.guarded"),
        ({"guarded": [GUARDED | {"addresses": ["10.0.0.1"] * (MAX_ADDRESSES + 1)}]}, "guarded[0].addresses"),
        ({"guarded": [GUARDED | {"policies": [POLICY] * (MAX_POLICIES + 1)}]}, "guarded[0].policies"),
        ({"guarded": [{"namespace": "app", "addresses": ["10.0.0.1"]}]}, "guarded[0].policies"),
        ({"tunnels": {"keys": [KEY] * (MAX_KEYS + 1)}}, "tunnels.keys"),
        ({"tunnels": {"keys": [KEY | {"publicKey": "x"}]}}, "tunnels.keys[0].publicKey"),
        ({"tunnels": {"keys": [KEY | {"generation": MAX_KEY_GENERATION + 1}]}}, "tunnels.keys[0].generation"),
        ({"tunnels": {"keys": [KEY | {"port": 0}]}}, "tunnels.keys[0].port"),
        ({"tunnels": {"sending": [1] * (MAX_KEYS + 1)}}, "tunnels.sending"),
        ({"tunnels": {"unsupported": "x" * (MAX_TEXT + 1)}}, "tunnels.unsupported"),
        ({"policies": POLICIES | {"observed": "all"}}, "policies.observed"),
        ({"policies": {"observed": "0" * 32}}, "policies.count"),
        ({"policies": POLICIES | {"selecting": [SELECTING] * (MAX_SELECTING + 1)}}, "policies.selecting"),
        ({"policies": POLICIES | {"selecting": [SELECTING | {"reason": "x" * 64}]}}, "selecting[0].reason"),
        (
            {"policies": POLICIES | {"selecting": [SELECTING | {"message": "x" * (MAX_TEXT + 1)}]}},
            "selecting[0].message",
        ),
    ],
)
async def test_what_is_too_large_or_wrong_is_refused_and_named(
    installed: Cluster, agents: dict[str, ApiServer], change: dict[str, Any], message: str
) -> None:
    written = node(installed, "n1", rejected())
    await write_to_api(agents["n1"], written)
    status = {"rejectedCount": 1000} | change
    assert message in await refusal(agents["n1"], "PATCH", f"{PATH}/n1/status", {"status": status}, MERGE_PATCH)
    assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode) == written


async def test_the_largest_report_is_taken(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    route = RouteGeneration("HTTPRoute", "n" * 63, "r" * 253, 2**40)
    parent = ParentPort("ServiceImport", "n" * 63, "s" * 253, 65535)
    largest = RejectedResource("T" * 63, "n" * MAX_TEXT, "m" * MAX_TEXT, parent, (route,) * MAX_ROUTES)
    written = node(installed, "n1", *[largest] * MAX_REJECTED)
    await write_to_api(agents["n1"], written)
    assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode) == written


async def test_an_object_of_a_former_node_is_written_again_once_it_is_gone(
    installed: Cluster, agents: dict[str, ApiServer]
) -> None:
    former = head(installed, "n1")
    former["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"
    installed.request("POST", PATH, former)
    with pytest.raises(ApiError, match="belongs to a former Node of this name"):
        await write_to_api(agents["n1"], node(installed, "n1"))
    installed.request("DELETE", f"{PATH}/n1")
    await write_to_api(agents["n1"], node(installed, "n1"))


async def test_tunnels_that_are_gone_are_removed(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    written = node(installed, "n1", rejected())
    for tunnels in (Tunnels(unsupported="no WireGuard"), Tunnels((TunnelKey(1, PUBLIC_KEY, 51871),)), None):
        await write_to_api(agents["n1"], replace(written, status=replace(written.status, tunnels=tunnels)))
        assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode).status.tunnels == tunnels


async def test_a_node_that_is_not_known_has_no_object(agents: dict[str, ApiServer]) -> None:
    with pytest.raises(ApiError, match="Node n1 is unknown"):
        await write_to_api(agents["n1"], WeftNode(WeftNodeMetadata("n1")))
