"""`weft lint` says that policies of Istio are not enforced, and what of them a policy of weft can say."""

from pathlib import Path
from typing import Any

import pytest

from agent.explain.istio_policies import CANNOT
from agent.explain.lint import Finding, findings
from agent.explain.manifests import read
from agent.kube.directory_source import parsed
from support.explain import manifests

WEB = "cluster.local/ns/shop/sa/web"


def found(folder: Path, namespace: str = "shop", version: str = "v1", **spec: Any) -> list[Finding]:
    meta = {"name": "p", "namespace": namespace}
    policy = {
        "apiVersion": f"security.istio.io/{version}",
        "kind": "AuthorizationPolicy",
        "metadata": meta,
        "spec": spec,
    }
    made = manifests(folder, policy)
    return findings(read(made), parsed(made))


def source(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"from": [{"source": fields}]}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"to": [{"operation": {"ports": ["80"]}}, {"operation": fields}]}]}


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        ({}, "Network"),
        ({"action": "ALLOW", "selector": {"matchLabels": {"app": "web"}}, "rules": [{}]}, "Network"),
        (source(principals=[WEB, "cluster.local/ns/shop/*"]), "Network"),
        (source(namespaces=["shop"]), "Network"),
        (source(serviceAccounts=["shop/web"]), "Network"),
        (operation(ports=["8080"]), "Network"),
        (operation(methods=["GET"], paths=["/a", "/b/*"]), "Application, for a Service"),
        ({"targetRefs": [{"kind": "Service", "name": "web"}]}, "Network"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_what_a_policy_of_weft_can_say(tmp_path: Path, spec: dict[str, Any], level: str, version: str) -> None:
    (one,) = found(tmp_path, version=version, **spec)
    assert (one.object, one.field, one.kind) == ("Istio's AuthorizationPolicy shop/p", "", "warning")
    assert one.location == f"{tmp_path}/all.yaml:1"
    assert one.message == (f"not enforced: an AuthorizationPolicy of weft.dev can say the same, with the level {level}")


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"action": "DENY"}, "spec.action", "not DENY"),
        ({"targetRefs": [{"kind": "Gateway"}]}, "spec.targetRefs[0].kind", "Pods or a Service"),
        (source(principals=["*"]), "spec.rules[0].from[0].source.principals", "service accounts"),
        (source(namespaces=["shop-*"]), "spec.rules[0].from[0].source.namespaces", "no wildcard"),
        (source(ipBlocks=["10.0.0.0/8"]), "spec.rules[0].from[0].source.ipBlocks", "not addresses"),
        (source(requestPrincipals=["*"]), "spec.rules[0].from[0].source.requestPrincipals", "JWT"),
        (source(notNamespaces=["shop"]), "spec.rules[0].from[0].source.notNamespaces", "no exceptions"),
        (source(principals=[WEB], namespaces=["shop"]), "spec.rules[0].from[0].source", "one of its fields"),
        (operation(hosts=["a"]), "spec.rules[0].to[1].operation.hosts", "no such condition"),
        (operation(notPaths=["/a"]), "spec.rules[0].to[1].operation.notPaths", "no exceptions"),
        (operation(paths=["*.html"]), "spec.rules[0].to[1].operation.paths", "whole segments"),
        (operation(paths=["/a/{*}"]), "spec.rules[0].to[1].operation.paths", "whole segments"),
        ({"rules": [{"when": [{"key": "source.ip"}]}]}, "spec.rules[0].when", "conditions are on"),
    ],
)
def test_what_none_can_say(tmp_path: Path, spec: dict[str, Any], field: str, reason: str) -> None:
    whole, one = found(tmp_path, **spec)
    assert "can say the same, but for the fields below" in whole.message
    assert (one.field, one.message.startswith(CANNOT), reason in one.message) == (field, True, True), one.message


def test_a_policy_for_the_whole_mesh(tmp_path: Path) -> None:
    _, one = found(tmp_path, namespace="istio-system")
    assert (one.field, "MeshParameters" in one.message) == ("spec", True)
    assert len(found(tmp_path, namespace="istio-system", selector={"matchLabels": {"app": "web"}})) == 1


@pytest.mark.parametrize(
    "spec", [{"rules": 7}, {"rules": [7]}, {"rules": [{"from": [7], "to": 7}]}, {"targetRefs": [7]}]
)
def test_one_that_makes_no_sense_is_told_like_any_other(tmp_path: Path, spec: dict[str, Any]) -> None:
    assert "not enforced" in found(tmp_path, **spec)[0].message
