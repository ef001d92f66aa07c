"""WeftNodes on a real API server: who may write them, what they may contain, and how they end."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apiserver_controller import running
from apiserver_gateway import DEFINITIONS, install
from apiserver_manifests import account, agent_account, apply
from apiserver_objects import GATEWAY, PATIENCE, http_route, namespace, service
from apiserver_process import Cluster

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.kube.node_objects import PATH, write_to_api
from agent.model.weft_node import (
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    Owner,
    ParentPort,
    RejectedResource,
    RouteGeneration,
    WeftNode,
    WeftNodeMetadata,
    WeftNodeStatus,
)

NODES = ("n1", "n2")
FOREIGN = "metadata.name: must be the node of the agent's own token"


@pytest.fixture(scope="module")
def installed(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two nodes, the accounts, and the definition with its policy."""
    made = Cluster(tmp_path_factory.mktemp("nodes"))
    try:
        made.start()
        install(made)
        for file in ("namespace.yaml", "rbac.yaml", "weftnodes.yaml"):
            apply(made, f"base/{file}")
        for name in NODES:
            made.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            agent_account(made, name, made.folder)
        yield made
    finally:
        made.stop()


@pytest.fixture
async def agents(installed: Cluster) -> AsyncIterator[dict[str, ApiServer]]:
    """Each node's agent, once the policy is in force; no object is there."""
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(ApiServer(installed.folder / f"kubeconfig-agent-{name}", "weft-test"))
            for name in NODES
        }
        deadline = time.monotonic() + PATIENCE
        while FOREIGN not in await refusal(found["n1"], "POST", f"{PATH}?dryRun=All", head(installed, "n2")):
            assert time.monotonic() < deadline, "the policy is not in force"
            await asyncio.sleep(0.1)
        yield found
        for item in installed.request("GET", PATH)["items"]:
            installed.request("DELETE", f"{PATH}/{item['metadata']['name']}")


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


async def test_an_agent_writes_the_object_of_its_node(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    for report in ((rejected(),), (), (rejected("other"), rejected())):
        written = node(installed, "n1", *report)
        await write_to_api(agents["n1"], written)
        assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode) == written


async def test_what_has_not_changed_is_not_written(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    await write_to_api(agents["n1"], node(installed, "n1", rejected()))
    before = installed.request("GET", f"{PATH}/n1")["metadata"]["resourceVersion"]
    await write_to_api(agents["n1"], node(installed, "n1", rejected()))
    assert installed.request("GET", f"{PATH}/n1")["metadata"]["resourceVersion"] == before


async def test_no_agent_writes_another_node_s_object(installed: Cluster, agents: dict[str, ApiServer]) -> None:
    foreign = node(installed, "n2", rejected())
    assert FOREIGN in await refusal(agents["n1"], "POST", PATH, head(installed, "n2"))
    await write_to_api(agents["n2"], foreign)
    body = {"status": {"rejected": [], "rejectedCount": 0}}
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
        ("GET", PATH, "application/json"),
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


async def test_a_node_that_is_not_known_has_no_object(agents: dict[str, ApiServer]) -> None:
    with pytest.raises(ApiError, match="Node n1 is not known"):
        await write_to_api(agents["n1"], WeftNode(WeftNodeMetadata("n1")))


def conditions(cluster: Cluster, space: str, name: str) -> dict[str, Any]:
    """A Route's conditions by type."""
    route = cluster.request("GET", f"{GATEWAY}/namespaces/{space}/httproutes/{name}")
    parents = route.get("status", {}).get("parents", [])
    return {item["type"]: item for parent in parents for item in parent["conditions"]}


async def until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.1)


def make_routes(cluster: Cluster, space: str, *names: str) -> None:
    cluster.request("POST", "/api/v1/namespaces", namespace(space))
    cluster.request("POST", f"/api/v1/namespaces/{space}/services", service("web"))
    for name in names:
        cluster.request("POST", f"{GATEWAY}/namespaces/{space}/httproutes", http_route(name))


async def test_a_route_has_the_condition_while_a_node_reports_it(
    installed: Cluster, agents: dict[str, ApiServer], tmp_path: Path
) -> None:
    make_routes(installed, "told", "web", "other")
    kubeconfig = account(installed, "weft-controller", tmp_path)
    async with running(kubeconfig, "weft-controller", namespace="weft-system") as controller:
        await until(lambda: "Accepted" in conditions(installed, "told", "other"))
        for name in NODES:
            await write_to_api(agents[name], node(installed, name, rejected(space="told")))
        await until(lambda: "(n1, n2)" in conditions(installed, "told", "web").get("Programmed", {}).get("message", ""))
        condition = conditions(installed, "told", "web")["Programmed"]
        assert (condition["status"], condition["reason"]) == ("False", "RefusedByEnvoy")
        assert condition["observedGeneration"] == 1
        assert conditions(installed, "told", "web")["Accepted"]["status"] == "True"
        assert "Programmed" not in conditions(installed, "told", "other")
        await write_to_api(agents["n1"], node(installed, "n1"))
        await until(lambda: "(n2)" in conditions(installed, "told", "web")["Programmed"]["message"])
        installed.request("DELETE", f"{PATH}/n2")
        await until(lambda: "Programmed" not in conditions(installed, "told", "web"))
        assert controller.metrics.written("HTTPRoute", "failed") == 0


async def test_a_report_of_another_generation_counts_when_the_route_has_it(
    installed: Cluster, agents: dict[str, ApiServer], tmp_path: Path
) -> None:
    make_routes(installed, "ahead", "web")
    kubeconfig = account(installed, "weft-controller", tmp_path)
    async with running(kubeconfig, "weft-controller", namespace="weft-system"):
        await write_to_api(agents["n1"], node(installed, "n1", rejected(generation=2, space="ahead")))
        await until(lambda: "Accepted" in conditions(installed, "ahead", "web"))
        assert "Programmed" not in conditions(installed, "ahead", "web")
        path = f"{GATEWAY}/namespaces/ahead/httproutes/web"
        installed.request("PATCH", path, {"spec": {"hostnames": ["a.example"]}}, MERGE_PATCH)
        await until(lambda: "Programmed" in conditions(installed, "ahead", "web"))
        assert conditions(installed, "ahead", "web")["Programmed"]["observedGeneration"] == 2


async def test_conditions_outlive_a_controller_and_go_with_the_definition(make_cluster: Any, tmp_path: Path) -> None:
    """A controller that starts knows every report before it writes: no condition goes and comes back."""
    cluster = make_cluster()
    install(cluster)
    apply(cluster, "base/weftnodes.yaml")
    make_routes(cluster, "app", "web")
    cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    cluster.request("POST", PATH, head(cluster, "n1"))
    status = {"status": node(cluster, "n1", rejected()).document()["status"]}
    cluster.request("PATCH", f"{PATH}/n1/status", status, MERGE_PATCH)
    async with running(cluster.kubeconfig(), "first"):
        await until(lambda: "Programmed" in conditions(cluster, "app", "web"))
    before = cluster.request("GET", f"{GATEWAY}/namespaces/app/httproutes/web")["metadata"]["resourceVersion"]
    async with running(cluster.kubeconfig(), "second"):
        cluster.request("POST", f"{GATEWAY}/namespaces/app/httproutes", http_route("later"))
        await until(lambda: "Accepted" in conditions(cluster, "app", "later"))
        after = cluster.request("GET", f"{GATEWAY}/namespaces/app/httproutes/web")["metadata"]["resourceVersion"]
        assert after == before
        cluster.request("DELETE", f"{DEFINITIONS}/weftnodes.weft.dev")
        await until(lambda: "Programmed" not in conditions(cluster, "app", "web"))
