"""What WeftNodes report about Routes becomes conditions of the Routes, on a real API server."""

import asyncio
from pathlib import Path
from typing import Any

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.node_objects import PATH, write_to_api
from support.apiserver.controller import running
from support.apiserver.gateway import DEFINITIONS, install
from support.apiserver.manifests import account, apply
from support.apiserver.objects import GATEWAY, PATIENCE, http_route, namespace, service
from support.apiserver.process import Cluster
from support.apiserver.weft_nodes import NODES, head, node, rejected


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
        assert (condition["status"], condition["reason"]) == ("False", "RejectedByEnvoy")
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
