"""MeshParameters as decoded, and what is known of those that cannot be."""

import json
from typing import Any

import pytest

from agent.kube.collection import collection, plural
from agent.kube.decode import decode
from agent.model.change import Problem
from agent.model.meta import Key
from agent.model.parameters import (
    KIND,
    MeshAuthorization,
    MeshCertificates,
    MeshEncryption,
    MeshParametersSpec,
    UndecodableMeshParameters,
)
from support.parameters import parameters, parameters_document

DENY = MeshAuthorization("Deny")
STRICT = MeshEncryption("Strict")
PODS = {"mode": "Pods"}


def undecodable(document: Any) -> UndecodableMeshParameters:
    (problem,) = decode(document, "here")
    assert isinstance(problem, Problem)
    assert collection(KIND).read(json.dumps(document).encode(), "here") == problem
    (fact,) = problem.facts
    assert isinstance(fact, UndecodableMeshParameters)
    assert fact.key == Key("UndecodableMeshParameters", "", "default")
    return fact


def test_absent_fields_have_the_defaults_of_the_definition():
    assert parameters().spec == MeshParametersSpec("cluster.local", MeshAuthorization("Allow"))
    assert parameters("Deny", "a", trustDomain="b.c").spec == MeshParametersSpec(
        "b.c", MeshAuthorization("Deny", ("a",))
    )


def test_the_plural_is_that_of_the_definition():
    assert plural(KIND) == "meshparameters"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"trustDomain": "a/b"}, "spec.trustDomain"),
        ({"trustDomain": ""}, "spec.trustDomain"),
        ({"trustDomain": "a" * 256}, "spec.trustDomain"),
        ({"authorization": None}, "spec.authorization"),
        ({"authorization": {}}, "spec.authorization"),
        ({"authorization": {"default": None}}, "spec.authorization.default"),
        ({"authorization": {"default": "allow"}}, "spec.authorization.default"),
        ({"authorization": {"default": "Deny", "exempt": ["a"]}}, "spec.authorization"),
        (
            {"authorization": {"default": "Deny", "exemptNamespaces": ["a", "a"]}},
            "spec.authorization.exemptNamespaces[1]",
        ),
        ({"authorization": {"default": "Deny", "exemptNamespaces": ["a.b"]}}, "spec.authorization.exemptNamespaces[0]"),
        (
            {"authorization": {"default": "Deny", "exemptNamespaces": list("ab") * 33}},
            "spec.authorization.exemptNamespaces",
        ),
        ({"unknown": 1}, "spec"),
        ({"encryption": {"mode": False}}, "spec.encryption.mode"),
        ({"encryption": {}}, "spec.encryption"),
        ({"encryption": PODS | {"podCidrs": []}}, "spec.encryption"),
        ({"encryption": {"mode": "Strict"}}, "spec.encryption.podCIDRs"),
        ({"encryption": PODS | {"podCIDRs": ["10.244.0.1/16"]}}, "spec.encryption.podCIDRs[0]"),
        ({"encryption": PODS | {"podCIDRs": ["10.244.0.0"]}}, "spec.encryption.podCIDRs[0]"),
        ({"encryption": PODS | {"podCIDRs": ["10.244.0.0/16", "10.244.0.0/16"]}}, "spec.encryption.podCIDRs[1]"),
        ({"encryption": PODS | {"podCIDRs": [f"10.{n}.0.0/16" for n in range(17)]}}, "spec.encryption.podCIDRs"),
        ({"encryption": PODS | {"keyGeneration": 0}}, "spec.encryption.keyGeneration"),
        ({"encryption": PODS | {"keyGeneration": 1_000_001}}, "spec.encryption.keyGeneration"),
        ({"certificates": {"caGeneration": 0}}, "spec.certificates.caGeneration"),
        ({"certificates": {"caGeneration": 1_000_001}}, "spec.certificates.caGeneration"),
        ({"certificates": None}, "spec.certificates"),
    ],
)
def test_what_cannot_be_decoded_is_named(spec: dict[str, Any], field: str):
    fact = undecodable(parameters_document(**spec))
    assert (fact.parameters, fact.generation, fact.field) == (Key(KIND, "", "default"), 1, field)


@pytest.mark.parametrize(
    ("spec", "strictest"),
    [
        (None, MeshParametersSpec("", DENY, STRICT)),
        ([], MeshParametersSpec("", DENY, STRICT)),
        ({"encryption": None}, MeshParametersSpec(encryption=STRICT)),
        ({"encryption": {"mode": False}}, MeshParametersSpec(encryption=STRICT)),
        ({"encryption": PODS, "new": 1}, MeshParametersSpec(encryption=MeshEncryption("Pods"))),
        ({"certificates": {"caGeneration": "x"}}, MeshParametersSpec()),
        ({"certificates": {"caGeneration": 3}, "new": 1}, MeshParametersSpec(certificates=MeshCertificates(3))),
        ({"unknown": 1}, MeshParametersSpec("cluster.local", MeshAuthorization("Allow"))),
        ({"authorization": None}, MeshParametersSpec("cluster.local", DENY)),
        ({"authorization": {"default": "Sometimes"}, "trustDomain": "a.b"}, MeshParametersSpec("a.b", DENY)),
        ({"authorization": {"default": "SameNamespace", "new": 1}}, MeshParametersSpec("cluster.local", DENY)),
        (
            {"authorization": {"default": "SameNamespace", "exemptNamespaces": ["a"]}, "new": 1, "trustDomain": 5},
            MeshParametersSpec("", MeshAuthorization("SameNamespace", ("a",))),
        ),
    ],
)
def test_a_field_that_cannot_be_decoded_has_its_strictest_value(spec: Any, strictest: MeshParametersSpec):
    assert undecodable(parameters_document() | {"spec": spec}).spec == strictest
