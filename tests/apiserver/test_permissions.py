"""The manifests that ship: a real API server takes them, and what they allow is enough and not more."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import incluster_config

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.collection import node_collections
from agent.kube.errors import ApiError
from agent.kube.kubernetes_source import KubernetesSource
from support.apiserver.controller import running
from support.apiserver.gateway import install, install_imports
from support.apiserver.manifests import account, apply
from support.apiserver.objects import GATEWAY, IMPORTS, Follower, http_route, service, service_import
from support.apiserver.process import Cluster

PATIENCE = 30.0


@pytest.fixture(scope="module")
def installed(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("installed"))
    try:
        made.start()
        install(made, "experimental")
        install_imports(made)
        policies = (
            "rbac.yaml",
            "admission.yaml",
            "weftnodes.yaml",
            "authorizationpolicies.yaml",
            "meshparameters.yaml",
        )
        for file in ("namespace.yaml", *policies, "controller.yaml", "agent.yaml", "waypoint.yaml"):
            apply(made, f"base/{file}")
        yield made
    finally:
        made.stop()


async def test_an_agent_can_read_what_it_needs_and_write_none_of_it(installed: Cluster, tmp_path: Path):
    cluster = installed
    cluster.request("POST", "/api/v1/namespaces/default/services", service("read"))
    cluster.request("POST", f"{GATEWAY}/namespaces/default/httproutes", http_route("read"))
    cluster.request("POST", f"{IMPORTS}/namespaces/default/serviceimports", service_import("read"))
    cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    route = f"{GATEWAY}/namespaces/default/httproutes/read"
    async with ApiServer(account(cluster, "weft-agent", tmp_path), "weft-test") as api:
        follower = Follower(KubernetesSource(api, node_collections("n1")))
        task = asyncio.ensure_future(follower.run())
        await follower.until(lambda: follower.synced)
        assert "read" in follower.names("HTTPRoute")
        assert (follower.names("ServiceImport"), follower.names("Node")) == (["read"], ["n1"])
        await follower.until(lambda: follower.names("ServiceCIDR") == ["kubernetes"])
        for method, path, body in (
            ("PATCH", f"{route}/status", {"status": {"parents": []}}),
            ("PATCH", route, {"metadata": {"labels": {"a": "b"}}}),
            ("PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"a": "b"}}}),
            ("DELETE", route, {}),
        ):
            with pytest.raises(ApiError) as caught:
                await api.send(method, path, body, MERGE_PATCH)
            assert caught.value.status == 403
        with pytest.raises(ApiError) as caught:
            await api.get("/api/v1/secrets")
        assert caught.value.status == 403
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# What every authenticated user may create: questions about their own permissions, which are stored nowhere.
QUESTIONS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
DOCS = Path(__file__).parents[2] / "docs" / "install.md"
STOLEN = "## What a stolen agent token can do"
# What an agent may write: the admission policy limits it to its own node's object (test_node_objects.py).
WRITTEN = {"weftnodes": {"create", "list", "watch"}, "weftnodes/status": {"patch"}}


async def rules(api: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """Everything that this account may do to objects there, as the API server's authorizer says it."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = await api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
    status = json.loads(answer)["status"]
    assert status["incomplete"] is False
    return list(status["resourceRules"])


@pytest.mark.parametrize("namespace", ["default", "weft-system", "kube-system"])
async def test_a_stolen_agent_token_reads_what_is_documented_and_writes_its_node_s_object(
    installed: Cluster, tmp_path: Path, namespace: str
):
    async with ApiServer(account(installed, "weft-agent", tmp_path), "weft-test") as api:
        found = await rules(api, namespace)
    verbs = {resource: set(rule["verbs"]) for rule in found for resource in rule["resources"]}
    writing = {name: allowed for name, allowed in verbs.items() if allowed - {"get", "list", "watch"}}
    assert {name: allowed for name, allowed in writing.items() if name not in QUESTIONS} == WRITTEN
    assert verbs.keys() - writing.keys() == documented()


def documented() -> set[str]:
    """The resources that the page lists."""
    section = DOCS.read_text().partition(f"{STOLEN}\n")[2].partition("\n## ")[0]
    listed = "\n".join(line for line in section.splitlines() if line.startswith(("- ", "  ")))
    return set(re.findall(r"`([a-z]+)`", listed)) - {"env"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "x"}}),
        ("POST", "/api/v1/namespaces/weft-system/serviceaccounts/weft-controller/token", {"spec": {}}),
        ("POST", "/api/v1/namespaces/default/pods/x/exec?command=sh", {}),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {"metadata": {"name": "x"}}),
        ("PATCH", "/api/v1/nodes/n1/status", {"status": {}}),
        ("PUT", f"{GATEWAY}/namespaces/default/httproutes/read", {}),
        ("DELETE", "/api/v1/namespaces/default/services", {}),
        ("GET", "/api/v1/secrets", None),
        ("GET", "/api/v1/namespaces/kube-system/configmaps", None),
    ],
)
async def test_a_stolen_agent_token_is_refused(
    installed: Cluster, tmp_path: Path, method: str, path: str, body: dict[str, Any] | None
):
    async with ApiServer(account(installed, "weft-agent", tmp_path), "weft-test") as api:
        with pytest.raises(ApiError) as caught:
            await (api.get(path) if body is None else api.send(method, path, body))
    assert caught.value.status == 403


async def test_a_controller_can_write_statuses_and_no_specs(installed: Cluster, tmp_path: Path):
    cluster = installed
    cluster.request("POST", "/api/v1/namespaces/default/services", service("write"))
    cluster.request("POST", f"{GATEWAY}/namespaces/default/httproutes", http_route("write"))
    path = f"{GATEWAY}/namespaces/default/httproutes/write"
    kubeconfig = account(cluster, "weft-controller", tmp_path)
    async with running(kubeconfig, "weft-controller", namespace="weft-system") as controller:
        async with asyncio.timeout(PATIENCE):
            while not (controller.metrics.written("HTTPRoute") and controller.metrics.written("XMesh") >= 2):
                await asyncio.sleep(0.1)
        assert controller.metrics.written("HTTPRoute", "failed") == controller.metrics.written("XMesh", "failed") == 0
    async with ApiServer(kubeconfig, "weft-test") as api:
        with pytest.raises(ApiError) as caught:
            await api.send("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
        assert caught.value.status == 403
    assert cluster.request("GET", path)["status"]["parents"]
    lease = cluster.request("GET", "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller")
    # It has resigned: the next one need not wait.
    assert not lease["spec"].get("holderIdentity")


async def test_in_a_pod_the_service_account_speaks(installed: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    account(installed, "weft-agent", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "weft-agent"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(installed.ca))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(installed.port))
    async with ApiServer(None, "weft-test") as api:
        assert api.host == installed.url
        assert b'"kind":"NamespaceList"' in await api.get("/api/v1/namespaces")
