"""What `weft lint` says of AuthorizationPolicies."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.explain.lint import Finding, findings
from agent.explain.manifests import read
from agent.kube.directory_source import parsed
from support import REPOSITORY
from support.explain import MESH, write
from support.policies import WEB, application_document, from_account, from_spiffe, policy_document

SELECTOR = "spec.targetRefs[0].selector"
ALLOW = {"sources": [from_account("client")]}
NAMES = {"Deployment": "apps/v1", "Job": "batch/v1", "CronJob": "batch/v1", "Pod": "v1"}


def workload(kind: str, spec: dict[str, Any] | None = None, **labels: str) -> dict[str, Any]:
    """A Pod, or a workload with a template."""
    made: dict[str, Any] = {"metadata": {"labels": labels}, "spec": spec or {}}
    if kind == "Pod":
        return {
            "apiVersion": "v1",
            "kind": kind,
            **made,
            "metadata": {"name": "w", "namespace": "app", "labels": labels},
        }
    body: dict[str, Any] = {"template": made}
    body = {"jobTemplate": {"spec": body}} if kind == "CronJob" else body
    return {"apiVersion": NAMES[kind], "kind": kind, "metadata": {"name": "w", "namespace": "app"}, "spec": body}


def found(folder: Path, *documents: Any, **files: str) -> list[Finding]:
    """The findings of documents, one a line, and of files."""
    text = "\n---\n".join(json.dumps(document) for document in documents)
    manifests = write(folder / "m", policies=text, **files)
    return [
        item for item in findings(read(manifests), parsed(manifests)) if item.kind != "field" or "Policy" in item.object
    ]


def test_a_policy_that_does_what_it_says_has_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path, policy_document(ALLOW, selector=WEB), workload("Deployment", app="web"), mesh=MESH) == []


API = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: app}
spec: {clusterIP: 10.96.0.9, selector: {app: SELECTED}, ports: [{name: PORT, port: 80}]}
"""


@pytest.mark.parametrize(
    ("selected", "port", "messages"),
    [
        ("web", "http", []),
        ("web", "redis", ["Service app/api has no HTTP port, by appProtocol, the ports' names or Routes"]),
        ("other", "http", ["it selects no pod of these manifests"]),
    ],
)
def test_a_policy_for_a_service_that_has_no_effect_is_told(
    tmp_path: Path, selected: str, port: str, messages: list[str]
) -> None:
    service = API.replace("SELECTED", selected).replace("PORT", port)
    policy = application_document(ALLOW, service="api")
    made = found(tmp_path, policy, workload("Deployment", app="web"), mesh=MESH, service=service)
    assert [(it.kind, it.field) for it in made] == [("warning", "spec.targetRefs[0].name")] * len(messages)
    assert all(it.message.startswith(message) for it, message in zip(made, messages, strict=True))


def test_what_cannot_be_decoded_is_a_problem(tmp_path: Path) -> None:
    (one,) = found(tmp_path, policy_document({"sources": []}))
    assert (one.kind, one.object, one.field) == ("problem", "AuthorizationPolicy app/p", "spec.rules[0].sources")
    assert one.location == f"{tmp_path}/m/policies.yaml:1"


def test_an_identity_of_another_trust_domain_matches_no_client(tmp_path: Path) -> None:
    (one,) = found(tmp_path, policy_document({"sources": [from_spiffe("spiffe://example.org/a")]}))
    assert (one.kind, one.field) == ("warning", "spec.rules[0].sources[0].spiffe")
    assert "trust domain example.org" in one.message


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_a_policy_that_selects_nothing_is_told_where_there_are_pods(tmp_path: Path, kind: str) -> None:
    policy = policy_document(ALLOW, selector=WEB)
    (one,) = found(tmp_path, policy, workload(kind, app="db"))
    assert (one.object, one.field, one.message) == (
        "AuthorizationPolicy app/p",
        SELECTOR,
        "it selects no pod of these manifests",
    )
    assert found(tmp_path, policy, workload(kind, app="web")) == []


def test_policies_alone_are_not_told_that_they_select_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, policy_document(ALLOW, selector=WEB)) == []


def test_a_namespace_whose_policies_have_no_rules_is_told(tmp_path: Path) -> None:
    (one,) = found(tmp_path, policy_document())
    assert (one.field, one.message) == (
        "spec.rules",
        "no policy of namespace app has rules: the pods that it selects admit no client",
    )
    assert found(tmp_path, policy_document(), policy_document(ALLOW, name="allow")) == []


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_a_pod_on_the_host_s_network_is_told(tmp_path: Path, kind: str) -> None:
    host = workload(kind, {"hostNetwork": True})
    (one,) = found(tmp_path, policy_document(ALLOW), host)
    assert one.object == f"{kind} app/w"
    assert "Unsupported, its policies are not enforced" in one.message
    assert found(tmp_path, policy_document(ALLOW, selector=WEB), workload("Job", app="web"), host) == []


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s", "namespace": "app"},
    "spec": {"selector": {"tier": "back"}, "ports": [{"port": 80}]},
}


def test_a_service_whose_pods_have_different_policies_is_told(tmp_path: Path) -> None:
    policy = policy_document(ALLOW, selector=WEB)
    one = workload("Deployment", app="web", tier="back")
    two = workload("Job", app="db", tier="back")
    (warning,) = found(tmp_path, policy, one, two, SERVICE)
    assert (warning.object, warning.field) == ("Service app/s", "spec.selector")
    assert "must be admitted by all of them" in warning.message
    assert found(tmp_path, policy, one, SERVICE) == []
    assert found(tmp_path, policy, one, workload("Job", app="db"), SERVICE) == []


@pytest.mark.parametrize("template", [7, None, {"metadata": 7}, {"spec": {"containers": 7}}])
def test_a_workload_that_makes_no_sense_has_no_pods(tmp_path: Path, template: Any) -> None:
    broken = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {"template": template}}
    assert found(tmp_path, policy_document(ALLOW, selector=WEB), broken) == []


def test_the_example_has_no_findings() -> None:
    folder = REPOSITORY / "examples/authorization"
    assert findings(read(folder), parsed(folder)) == []
