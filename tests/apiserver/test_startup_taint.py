"""The startup taint against a real API server, with the permissions that its component gives."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.controller.taint import TAINT
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from support.apiserver.controller import running
from support.apiserver.gateway import install
from support.apiserver.manifests import account, apply
from support.apiserver.objects import pod
from support.apiserver.process import Cluster

PATIENCE = 30.0
OTHER = {"key": "example.org/slow", "effect": "NoExecute", "value": "disk"}
OURS = {"key": TAINT, "effect": "NoSchedule"}
PODS = "/api/v1/namespaces/weft-system/pods"


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(found):
            await asyncio.sleep(0.1)


def add_node(cluster: Cluster, name: str) -> None:
    body = {"metadata": {"name": name}, "spec": {"taints": [OURS, OTHER]}}
    cluster.request("POST", "/api/v1/nodes", body)


def add_agent(cluster: Cluster, node: str) -> None:
    made = pod(f"agent-{node}", node, **{"app.kubernetes.io/name": "weft-agent"})
    cluster.request("POST", PODS, made)


def report_ready(cluster: Cluster, node: str, ready: str) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    cluster.request("PATCH", f"{PODS}/agent-{node}/status", {"status": status}, MERGE_PATCH)


def taints(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """The taints of a node, but those that the API server itself gives to nodes that are not ready."""
    found = cluster.request("GET", f"/api/v1/nodes/{node}")["spec"].get("taints", [])
    return [taint for taint in found if not taint["key"].startswith("node.kubernetes.io/")]


@pytest.fixture
def installed(make_cluster: Callable[[], Cluster]) -> Cluster:
    made = make_cluster()
    install(made)
    for manifest in ("base/namespace.yaml", "base/rbac.yaml", "components/startup-taint/rbac.yaml"):
        apply(made, manifest)
    return made


async def test_a_node_is_free_when_its_agent_is_ready(installed: Cluster, tmp_path: Path):
    cluster = installed
    for node in ("n1", "n2"):
        add_node(cluster, node)
        add_agent(cluster, node)
    report_ready(cluster, "n1", "False")
    report_ready(cluster, "n2", "True")
    kubeconfig = account(cluster, "weft-controller", tmp_path)
    async with running(kubeconfig, "weft-controller", namespace="weft-system", startup_taint=True) as controller:
        # One that was ready before the controller came, one that becomes so, one that registers later.
        await until(lambda: taints(cluster, "n2") == [OTHER])
        assert taints(cluster, "n1") == [OURS, OTHER]
        report_ready(cluster, "n1", "True")
        await until(lambda: taints(cluster, "n1") == [OTHER])
        add_node(cluster, "n3")
        add_agent(cluster, "n3")
        report_ready(cluster, "n3", "True")
        await until(lambda: taints(cluster, "n3") == [OTHER])
        await until(lambda: controller.metrics.written("Node") == 3)
        assert controller.metrics.written("Node", "failed") == 0
    async with ApiServer(kubeconfig, "weft-test") as api:
        for path in ("/api/v1/pods", "/api/v1/namespaces/default/pods"):
            with pytest.raises(ApiError) as caught:
                await api.get(path)
            assert caught.value.status == 403


async def test_without_the_setting_nodes_are_left_alone(installed: Cluster, tmp_path: Path):
    cluster = installed
    add_node(cluster, "n1")
    add_agent(cluster, "n1")
    report_ready(cluster, "n1", "True")
    async with running(account(cluster, "weft-controller", tmp_path), "weft-controller", namespace="weft-system") as it:
        await until(lambda: it.synced and it.election.leads)
        assert "Node" not in it.source.status()["collections"]
    assert taints(cluster, "n1") == [OURS, OTHER]
