"""Applies weft's manifests to an API server, and returns kubeconfigs of the accounts in them."""

from pathlib import Path
from typing import Any

import yaml

from support import REPOSITORY
from support.apiserver.process import Cluster

FOLDER = REPOSITORY / "daemonset"
COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
}


def apply(cluster: Cluster, file: str) -> None:
    """Create every object of a manifest. Unknown fields are errors."""
    apply_all(cluster, list(yaml.load_all((FOLDER / file).read_text(), yaml.CSafeLoader)))


def apply_all(cluster: Cluster, documents: list[Any]) -> None:
    """Create objects. Unknown fields are errors."""
    for document in documents:
        collection = COLLECTIONS[document["kind"]].format(namespace=document["metadata"].get("namespace"))
        cluster.request("POST", f"{collection}?fieldValidation=Strict", document)


def account(cluster: Cluster, name: str, folder: Path, user: str = "", **spec: Any) -> Path:
    """A kubeconfig with a service account's token, as a pod has it; `spec` is more of the TokenRequest's."""
    body: dict[str, Any] = {"spec": {"expirationSeconds": 3600, **spec}}
    path = f"/api/v1/namespaces/weft-system/serviceaccounts/{name}/token"
    file = folder / (user or name)
    file.write_text(cluster.request("POST", path, body)["status"]["token"])
    return cluster.kubeconfig(user or name, token=file)


def agent_account(cluster: Cluster, node: str, folder: Path) -> Path:
    """A kubeconfig with the token that the agent on a node has: bound to its Pod, and so to the node."""
    pods = "/api/v1/namespaces/weft-system/pods"
    spec = {"serviceAccountName": "weft-agent", "nodeName": node, "containers": [{"name": "c", "image": "i"}]}
    made = cluster.request("POST", pods, {"metadata": {"name": f"agent-{node}"}, "spec": spec})
    bound = {"apiVersion": "v1", "kind": "Pod", "name": f"agent-{node}", "uid": made["metadata"]["uid"]}
    return account(cluster, "weft-agent", folder, user=f"agent-{node}", boundObjectRef=bound)
