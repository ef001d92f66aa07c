"""What WeftNodes report about AuthorizationPolicies becomes their condition `Programmed`, on a real API server."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.decode import decode
from agent.kube.node_objects import PATH, write_to_api
from agent.model.change import Upsert
from agent.model.policy_versions import PolicyVersions
from agent.model.weft_node import NodePolicies, SelectingPolicy, WeftNode, WeftNodeStatus
from support.apiserver.controller import running
from support.apiserver.gateway import install_policies
from support.apiserver.manifests import account
from support.apiserver.process import Cluster
from support.apiserver.statuses import until
from support.apiserver.weft_nodes import node
from support.policies import VERSION, policy_document

POLICIES = f"/apis/{VERSION}/namespaces/app/authorizationpolicies"


def programmed(cluster: Cluster, name: str = "p") -> tuple[str, str, str, int] | None:
    """Status, reason, message and generation of the condition."""
    for entry in cluster.request("GET", f"{POLICIES}/{name}").get("status", {}).get("ancestors", []):
        for item in entry["conditions"]:
            if item["type"] == "Programmed":
                return item["status"], item["reason"], item["message"], item["observedGeneration"]
    return None


def knows_all(cluster: Cluster, name: str, *selecting: SelectingPolicy) -> WeftNode:
    """The WeftNode of a node that has processed all policies that there are."""
    versions = PolicyVersions()
    for document in cluster.request("GET", POLICIES)["items"]:
        (found,) = decode({"apiVersion": VERSION, "kind": "AuthorizationPolicy"} | document, "here")
        versions.apply(Upsert(found))  # type: ignore[arg-type]
    policies = NodePolicies(versions.digest, len(selecting), selecting)
    return replace(node(cluster, name), status=WeftNodeStatus(policies=policies))


def version(cluster: Cluster, name: str) -> Any:
    return cluster.request("GET", f"{POLICIES}/{name}")["metadata"]["resourceVersion"]


async def test_a_policy_is_programmed_once_both_nodes_report_its_generation(
    installed: Cluster, agents: dict[str, ApiServer], tmp_path: Path
) -> None:
    install_policies(installed)
    installed.request("POST", "/api/v1/namespaces", {"metadata": {"name": "app"}})
    for name in ("p", "other"):
        installed.request("POST", POLICIES, policy_document({}, name=name))
    kubeconfig = account(installed, "weft-controller", tmp_path)
    async with running(kubeconfig, "weft-controller", namespace="weft-system") as controller:
        await until(lambda: programmed(installed) == ("Unknown", "NoNodes", "no node reports", 1))
        first = knows_all(installed, "n1", SelectingPolicy("app", "p", 1))
        await write_to_api(agents["n1"], first)
        assert msgspec.convert(installed.request("GET", f"{PATH}/n1"), WeftNode) == first
        text = "enforced on every node with pods that it selects"
        await until(lambda: programmed(installed) == ("True", "Programmed", text, 1))
        await until(lambda: programmed(installed, "other") == ("True", "Programmed", text, 1))
        other = version(installed, "other")

        installed.request("PATCH", f"{POLICIES}/p", {"spec": {"rules": []}}, MERGE_PATCH)
        lagging = "not enforced on 1 node: n1: generation 1 is in force"
        await until(lambda: programmed(installed) == ("False", "Reconciling", lagging, 2))
        unsupported = SelectingPolicy("app", "p", 2, "Unsupported", "app/a: a hostNetwork pod")
        await write_to_api(agents["n2"], knows_all(installed, "n2", unsupported))
        await write_to_api(agents["n1"], knows_all(installed, "n1", SelectingPolicy("app", "p", 2)))
        cannot = "not enforced on 1 node: n2: app/a: a hostNetwork pod"
        await until(lambda: programmed(installed) == ("False", "Unsupported", cannot, 2))
        await write_to_api(agents["n2"], knows_all(installed, "n2"))
        await until(lambda: programmed(installed) == ("True", "Programmed", text, 2))
        assert version(installed, "other") == other, "a change of one policy writes no other one"
        assert controller.metrics.written("AuthorizationPolicy", "failed") == 0
    before = version(installed, "p")
    async with running(kubeconfig, "weft-controller", "b", "weft-system") as controller:
        installed.request("POST", POLICIES, policy_document({}, name="later"))
        lagging = "it has not reported this version yet"
        pending = f"not known of 2 nodes: n1: {lagging}; n2: {lagging}"
        await until(lambda: programmed(installed, "later") == ("Unknown", "Pending", pending, 1))
        assert version(installed, "p") == before, "what was reported once needs no new report"
