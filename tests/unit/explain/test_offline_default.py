"""What `weft lint` says of the mesh's default."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.explain.lint import Finding, findings
from agent.explain.manifests import read
from agent.kube.directory_source import parsed
from support.explain import write
from support.parameters import mesh_document, parameters_document
from support.policies import WEB, application_document, policy_document

SAME = parameters_document("SameNamespace")
REFERENCE = {"namespace": "app", "name": "web"}
CALLERS = [
    *(
        {"kind": kind, "webhooks": [{"clientConfig": {"service": REFERENCE}}, {"clientConfig": {"url": "https://a"}}]}
        for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    {"kind": "APIService", "spec": {"service": REFERENCE}},
    {"kind": "CustomResourceDefinition", "spec": {"conversion": {"webhook": {"clientConfig": {"service": REFERENCE}}}}},
]


def service(kind: str = "ClusterIP", **selector: str) -> dict[str, Any]:
    spec = {"type": kind, "selector": selector or {"app": "web"}, "ports": [{"port": 443}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "app"}, "spec": spec}


def pod(name: str, host_network: bool = False) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "app", "labels": {"app": "web", "pod": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"hostNetwork": host_network}}


def caller(document: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "any/v1", "metadata": {"name": "caller"}} | document


def found(folder: Path, *documents: Any) -> list[Finding]:
    """The findings of documents, one a line, but for fields of definitions."""
    manifests = write(folder, all="\n---\n".join(json.dumps(document) for document in documents))
    return [item for item in findings(read(manifests), parsed(manifests)) if item.kind != "field"]


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
@pytest.mark.parametrize("default", ["SameNamespace", "Deny"])
def test_a_service_with_clients_outside_the_cluster_is_named(tmp_path: Path, kind: str, default: str):
    (one,) = found(tmp_path, parameters_document(default), service(kind))
    assert (one.location, one.object, one.field) == (f"{tmp_path}/all.yaml:2", "Service app/web", "spec.selector")
    assert one.message == (
        f"the default {default} of MeshParameters default closes its pods to clients outside the cluster ({kind}): "
        "only a rule without sources admits those"
    )


@pytest.mark.parametrize("document", CALLERS, ids=lambda item: str(item["kind"]))
def test_a_service_that_the_api_server_calls_is_named(tmp_path: Path, document: dict[str, Any]):
    (one,) = found(tmp_path, SAME, service(), caller(document))
    assert f"closes its pods to the API server ({document['kind']} caller): only" in one.message


def test_several_clients_are_in_one_finding(tmp_path: Path):
    (one,) = found(tmp_path, SAME, service("NodePort"), *map(caller, CALLERS))
    assert one.message.count("(") == 5


def test_a_service_that_the_default_does_not_close_is_not_named(tmp_path: Path):
    port = service("NodePort")
    assert found(tmp_path / "1", port) == []
    assert found(tmp_path / "2", parameters_document("Allow"), port) == []
    assert found(tmp_path / "3", parameters_document("Deny", "app"), port) == []
    assert found(tmp_path / "4", SAME, service()) == []
    assert found(tmp_path / "5", SAME, port, policy_document({}, selector=WEB)) == []
    (host,) = found(tmp_path / "6", SAME, port, pod("a", host_network=True))
    assert (host.object, "Unsupported" in host.message) == ("Pod app/a", True)
    assert found(tmp_path / "7", SAME, port | {"spec": {"type": "NodePort", "ports": [{"port": 1}]}}) == []
    # Parameters that the XMesh does not name are not in force.
    other = parameters_document("Allow", name="other")
    assert found(tmp_path / "8", SAME, other, mesh_document("other"), port) == []


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer", "ClusterIP"])
def test_a_policy_about_requests_closes_a_service_to_clients_outside_the_cluster(tmp_path: Path, kind: str):
    """Whatever its rules are, and whatever the default of the mesh is."""
    ports = [{"name": "http", "port": 80}]
    made = service(kind)
    made["spec"]["ports"] = ports
    messages = [item.message for item in found(tmp_path / "1", made, application_document({}), pod("a"))]
    closed = f"closes its pods to clients outside the cluster ({kind}): only waypoints connect to them"
    expected = [f"AuthorizationPolicy app/p of the level Application {closed}"]
    assert messages == ([] if kind == "ClusterIP" else expected)


def test_another_service_of_the_same_pods_is_closed_too_and_an_audited_policy_closes_none(tmp_path: Path):
    outside = service("NodePort")
    outside["metadata"]["name"] = "outside"
    inside = service()
    inside["spec"]["ports"] = [{"name": "http", "port": 80}]
    policy = application_document({})
    (one,) = found(tmp_path / "1", outside, inside, policy, pod("a"))
    assert one.object == "Service app/outside"
    policy["metadata"]["annotations"] = {"weft.dev/audit": "true"}
    audited = found(tmp_path / "2", outside, inside, policy, pod("a"))
    assert [item.field for item in audited] == ["metadata.annotations[weft.dev/audit]"]
    by_default = found(tmp_path / "3", outside, inside, policy, pod("a"), SAME)
    assert any("the default SameNamespace" in item.message for item in by_default), "it does not replace the default"


def test_one_pod_without_a_policy_is_enough(tmp_path: Path):
    policy = policy_document({}, selector={"matchLabels": {"pod": "a"}})
    assert found(tmp_path / "1", SAME, service("NodePort"), policy, pod("a")) == []
    several = found(tmp_path / "2", SAME, service("NodePort"), policy, pod("a"), pod("b"))
    (one,) = (item for item in several if "the default" in item.message)
    assert one.object == "Service app/web"


@pytest.mark.parametrize("webhooks", [None, 7, [7], [{"clientConfig": 7}], [{"clientConfig": {"service": [1]}}]])
def test_a_webhook_that_cannot_be_read_calls_nothing(tmp_path: Path, webhooks: Any):
    document = caller({"kind": "ValidatingWebhookConfiguration", "webhooks": webhooks})
    assert found(tmp_path, SAME, service(), document) == []


def test_an_xmesh_whose_parameters_are_missing_is_named(tmp_path: Path):
    (one,) = found(tmp_path, SAME, mesh_document("absent"))
    assert (one.object, one.field) == ("XMesh weft", "spec.parametersRef")
    assert one.reason == "Accepted=False InvalidParameters"
    assert "MeshParameters absent does not exist" in one.message
