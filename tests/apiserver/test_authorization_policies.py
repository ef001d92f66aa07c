"""AuthorizationPolicies on a real API server: what it accepts, and what it refuses with the field's name."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from agent.kube.decode import decode, decode_json
from agent.model.authorization import KIND
from agent.model.change import Problem
from support import REPOSITORY
from support.apiserver.gateway import install_policies
from support.apiserver.process import Cluster
from support.policies import (
    BAD_HTTP,
    VERSION,
    WEB,
    application_document,
    from_account,
    from_spiffe,
    http,
    policy_document,
)

PATH = f"/apis/{VERSION}/namespaces/app/authorizationpolicies"
STRICT = f"{PATH}?fieldValidation=Strict"
DRY_RUN = f"{STRICT}&dryRun=All"
RULE = "spec.rules[0]"
TARGET = "spec.targetRefs[0]"
GOOD = from_account("client")


@pytest.fixture(scope="module")
def server(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the definition."""
    made = Cluster(tmp_path_factory.mktemp("policies"))
    try:
        made.start()
        made.request("POST", "/api/v1/namespaces", {"metadata": {"name": "app"}})
        install_policies(made)
        yield made
    finally:
        made.stop()


ACCEPTED = [
    policy_document(),
    policy_document({}),
    policy_document({"sources": [GOOD, from_account("*"), from_account("a", "shop"), from_account("*", "shop")]}),
    policy_document({"sources": [from_spiffe("spiffe://cluster.local/ns/app/sa/client")]}),
    policy_document({"sources": [from_spiffe("spiffe://example.org/any/path.with_all-of.it")]}),
    policy_document({"networkAttributes": {"ports": [1, 65535]}}, {"networkAttributes": {}}),
    policy_document(selector=WEB),
    policy_document(
        selector={
            "matchExpressions": [
                {"key": "example.org/a", "operator": "In", "values": ["b", ""]},
                {"key": "a", "operator": "NotIn", "values": ["b"]},
                {"key": "a", "operator": "Exists"},
                {"key": "a", "operator": "DoesNotExist", "values": []},
            ]
        }
    ),
    policy_document(targetRefs=[{"group": "", "kind": "Pod", "selector": {}}]),
    application_document(),
    application_document({"httpAttributes": {}, "sources": [GOOD]}),
    application_document(
        {
            **http(
                methods=["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"],
                paths=[("PathPrefix", "/" + "a" * 1023), ("Exact", "/a.b/c..d/..e/%20"), *[("Exact", "/")] * 14],
                headers=[(f"x{n:0255}", "a" * 64) for n in range(16)],
            ),
            "networkAttributes": {"ports": [80]},
        },
        *[http(paths=[("PathPrefix", "/" + "a" * 1023)] * 16, headers=[("X-Team", "a b")])] * 15,
    ),
    # The longest of everything.
    policy_document(
        *[{"sources": [from_account("a" * 253, "b" * 63)] * 64, "networkAttributes": {"ports": [*range(1, 17)]}}] * 16,
        selector={
            "matchLabels": {f"{n:0317}": "a" * 63 for n in range(64)},
            "matchExpressions": [{"key": "a" * 317, "operator": "In", "values": ["b" * 63] * 64}] * 16,
        },
    ),
]


@pytest.mark.parametrize("document", ACCEPTED)
def test_a_good_policy_is_accepted_and_decoded(server: Cluster, document: Any) -> None:
    assert server.refusal(DRY_RUN, document) == ""
    (found,) = decode(document, "here")
    assert not isinstance(found, Problem), found


def test_the_examples_are_accepted(server: Cluster) -> None:
    page = (REPOSITORY / "docs/authorization.md").read_text()
    texts = [(REPOSITORY / "examples/authorization/policies.yaml").read_text()]
    texts += re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    documents = [document for text in texts for document in yaml.load_all(text, yaml.CSafeLoader)]
    policies = [document for document in documents if document["kind"] == KIND]
    assert len(policies) == 7
    for document in policies:
        document["metadata"]["namespace"] = "app"
        assert server.refusal(DRY_RUN, document) == ""


REFUSED: list[tuple[Any, str]] = [
    (policy_document({"sources": []}), f"{RULE}.sources"),
    (policy_document({"sources": [GOOD] * 65}), f"{RULE}.sources"),
    (policy_document(*[{}] * 17), "spec.rules"),
    (policy_document({"networkAttributes": {"ports": []}}), f"{RULE}.networkAttributes.ports"),
    (policy_document({"networkAttributes": {"ports": [0]}}), f"{RULE}.networkAttributes.ports[0]"),
    (policy_document({"networkAttributes": {"ports": [1] * 17}}), f"{RULE}.networkAttributes.ports"),
    (policy_document({"networkAttributes": {"protocol": "UDP"}}), f"{RULE}.networkAttributes.protocol"),
    (policy_document({"httpAttributes": {}}), "spec.rules"),
    *((application_document(rule), f"{RULE}.{field}") for rule, field in BAD_HTTP),
    (policy_document({"sources": [{"type": "ServiceAccount"}]}), f"{RULE}.sources[0].serviceAccount"),
    (policy_document({"sources": [{"type": "SPIFFE"}]}), f"{RULE}.sources[0].spiffe"),
    (policy_document({"sources": [{**GOOD, "type": "SPIFFE"}]}), f"{RULE}.sources[0].serviceAccount"),
    (policy_document({"sources": [{**GOOD, "spiffe": "spiffe://a/b"}]}), f"{RULE}.sources[0].spiffe"),
    (policy_document({"sources": [{**GOOD, "type": "IPBlock"}]}), f"{RULE}.sources[0].type"),
    (policy_document({"sources": [from_account("a*")]}), f"{RULE}.sources[0].serviceAccount.name"),
    (policy_document({"sources": [from_account("a", "*")]}), f"{RULE}.sources[0].serviceAccount.namespace"),
    (policy_document({"sources": [from_spiffe("spiffe://a")]}), f"{RULE}.sources[0].spiffe"),
    (policy_document({"sources": [from_spiffe("spiffe://a/ns/b/sa/*")]}), f"{RULE}.sources[0].spiffe"),
    (policy_document(action="DENY"), "spec.action"),
    (policy_document(enforcementLevel="Application"), "spec.targetRefs"),
    (policy_document(enforcementLevel="Kernel"), "spec.enforcementLevel"),
    (application_document(enforcementLevel="Network"), "spec.targetRefs"),
    (application_document(service="a.b"), f"{TARGET}.name"),
    (application_document(targetRefs=[{"kind": "Service"}]), f"{TARGET}.name"),
    (application_document(targetRefs=[{"kind": "Service", "name": "a", "selector": {}}]), f"{TARGET}.selector"),
    (policy_document(targetRefs=[]), "spec.targetRefs"),
    (policy_document(targetRefs=[{"kind": "Pod", "selector": {}}] * 2), "spec.targetRefs"),
    (policy_document(targetRefs=[{"kind": "Node", "selector": {}}]), f"{TARGET}.kind"),
    (policy_document(targetRefs=[{"kind": "Pod", "name": "a", "selector": {}}]), f"{TARGET}.name"),
    (policy_document(targetRefs=[{"kind": "Pod", "group": "apps", "selector": {}}]), f"{TARGET}.group"),
    (policy_document(targetRefs=[{"kind": "Pod"}]), f"{TARGET}.selector"),
    (policy_document(selector={"matchExpression": []}), f"{TARGET}.selector.matchExpression"),
    (policy_document(selector={"matchLabels": {"": "a"}}), f"{TARGET}.selector.matchLabels"),
    (policy_document(selector={"matchLabels": {"a" * 318: ""}}), f"{TARGET}.selector.matchLabels"),
    *(
        (policy_document(selector={"matchExpressions": [item]}), f"{TARGET}.selector.matchExpressions[0].{field}")
        for item, field in (
            ({"key": "a", "operator": "In"}, "values"),
            ({"key": "a", "operator": "NotIn", "values": []}, "values"),
            ({"key": "a", "operator": "Exists", "values": ["b"]}, "values"),
            ({"key": "a", "operator": "Gt", "values": ["1"]}, "operator"),
            ({"key": "", "operator": "Exists"}, "key"),
        )
    ),
    ({**policy_document(), "spec": {}}, "spec.targetRefs"),
]


@pytest.mark.parametrize(("document", "field"), REFUSED)
def test_a_bad_policy_is_refused_and_the_field_named(server: Cluster, document: Any, field: str) -> None:
    """By the API server, and by weft where it reads manifests."""
    assert field in server.refusal(DRY_RUN, document)
    (found,) = decode(document, "here")
    assert isinstance(found, Problem)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"sources": None}, "sources"),
        ({"networkAttributes": None}, "networkAttributes"),
        ({"networkAttributes": {"ports": None}}, "networkAttributes.ports"),
        ({"httpAttributes": None}, "httpAttributes"),
        ({"httpAttributes": {"methods": None}}, "httpAttributes.methods"),
        ({"httpAttributes": {"paths": None}}, "httpAttributes.paths"),
        ({"httpAttributes": {"headers": None}}, "httpAttributes.headers"),
    ],
)
def test_a_null_is_kept_and_refused_by_weft(server: Cluster, rule: Any, field: str) -> None:
    """It must not become a rule that matches anything."""
    document = application_document(rule) if "httpAttributes" in rule else policy_document(rule)
    made = server.request("POST", DRY_RUN, document)
    assert made["spec"]["rules"] == [rule]
    found = decode_json(json.dumps(made).encode(), KIND, "here")
    assert isinstance(found, Problem)
    assert found.field == f"{RULE}.{field}"


def test_a_policy_without_a_spec_is_refused(server: Cluster) -> None:
    document = {name: value for name, value in policy_document().items() if name != "spec"}
    assert "spec" in server.refusal(DRY_RUN, document)


def test_the_status_has_the_form_of_a_policy_s(server: Cluster) -> None:
    server.request("POST", STRICT, policy_document(name="status"))
    status_path = f"{PATH}/status/status"
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    entry = {"ancestorRef": {"name": "weft"}, "controllerName": "example.org/mesh", "conditions": [condition]}
    body = {"status": {"ancestors": [entry]}}
    made = server.request("PATCH", status_path, body, "application/merge-patch+json")
    expected = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "weft"}
    assert made["status"]["ancestors"][0]["ancestorRef"] == expected
    assert server.request("GET", f"{PATH}/status")["spec"] == made["spec"]
