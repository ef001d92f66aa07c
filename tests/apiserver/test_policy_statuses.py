"""What a controller writes to AuthorizationPolicies of a real API server."""

import json
from typing import Any

from agent.kube.client import ApiServer
from agent.model.meta import CONTROLLER_NAME
from support.apiserver.controller import running
from support.apiserver.gateway import install, install_policies
from support.apiserver.process import Cluster
from support.apiserver.statuses import MERGE, until
from support.policies import VERSION, policy_document

POLICIES = f"/apis/{VERSION}/namespaces/app/authorizationpolicies"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
XMESH = {"group": "gateway.networking.x-k8s.io", "kind": "XMesh", "name": "weft"}


def entry(cluster: Cluster, name: str = "p") -> dict[str, Any]:
    """Our entry; empty while there is none."""
    found = cluster.request("GET", f"{POLICIES}/{name}").get("status", {}).get("ancestors", [])
    return next((item for item in found if item["controllerName"] == CONTROLLER_NAME), {})


def accepted(cluster: Cluster, name: str = "p") -> tuple[str, str, int] | None:
    """Status, reason and generation of the condition."""
    for item in entry(cluster, name).get("conditions", [])[:1]:
        return item["status"], item["reason"], item["observedGeneration"]
    return None


async def test_a_policy_is_told_that_it_is_accepted_and_by_which_mesh(make_cluster):
    cluster = make_cluster()
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": "app"}})
    install_policies(cluster)
    cluster.request("POST", POLICIES, policy_document({}))
    kubeconfig = cluster.kubeconfig()
    async with running(kubeconfig, "policies") as controller, ApiServer(kubeconfig, "weft-test") as api:
        await until(lambda: accepted(cluster) == ("True", "Accepted", 1))
        assert entry(cluster)["ancestorRef"] == {"group": "", "kind": "Namespace", "name": "app"}
        table = json.loads(await api.get(POLICIES, {}, TABLE))
        columns = [item["name"] for item in table["columnDefinitions"]]
        (row,) = (dict(zip(columns, item["cells"], strict=True)) for item in table["rows"])
        assert (row["Action"], row["Level"], row["Accepted"]) == ("ALLOW", "Network", "True")
        assert row["Programmed"] == "Unknown", "no node reports"
        cluster.request("PATCH", f"{POLICIES}/p", {"spec": {"rules": []}}, MERGE)
        await until(lambda: accepted(cluster) == ("True", "Accepted", 2))
        install(cluster, "experimental")
        await until(lambda: entry(cluster)["ancestorRef"] == XMESH)
        # A null is the one thing that the API server takes and weft does not.
        cluster.request("POST", POLICIES, policy_document({"sources": None}, name="null"))
        await until(lambda: accepted(cluster, "null") == ("False", "Invalid", 1))
        (condition,) = entry(cluster, "null")["conditions"]
        assert condition["message"].startswith("spec.rules[0].sources: Expected `array`, got `null`; on nodes")
        assert controller.metrics.written("AuthorizationPolicy", "failed") == 0
