"""Which MeshParameters are in force."""

from dataclasses import replace as replaced

import pytest
from msgspec.structs import replace

from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount
from agent.model.change import Keyed
from agent.model.core import Pod
from agent.model.meta import Key, ObjectMeta
from agent.model.parameters import (
    KIND,
    LastMeshParameters,
    MeshAuthorization,
    MeshParametersSpec,
    UndecodableMeshParameters,
)
from agent.translate.mesh_status import translate_mesh_status
from agent.translate.parameters import BUILT_IN, InForce, parameters_in_force
from agent.translate.policies import default_policies, policies_of
from support.parameters import mesh, parameters
from support.policies import from_account, from_spiffe, policy
from support.translate import view_of

DENY, NAMED = parameters("Deny"), parameters("SameNamespace", name="named")
POD = Pod(ObjectMeta("web", "app"))
DENIED = MeshParametersSpec("", MeshAuthorization("Deny"))
NONE = "is no cluster-scoped MeshParameters of weft.dev"
LAST = LastMeshParameters(parameters("Deny", name="kept"))
FOREIGN = replace(mesh("named"), spec=replace(mesh("named").spec, controller_name="example.org/mesh"))


def undecodable(name: str) -> UndecodableMeshParameters:
    return UndecodableMeshParameters(Key(KIND, "", name), 2, DENIED, "spec", "is bad")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((), BUILT_IN),
        ((DENY,), DENY),
        ((NAMED,), BUILT_IN),
        ((DENY, NAMED, mesh()), DENY),
        ((DENY, NAMED, mesh("named")), NAMED),
        ((DENY, NAMED, FOREIGN), DENY),
        ((DENY, NAMED, mesh("named", "b"), mesh(name="a")), DENY),
        ((NAMED, LAST, mesh("named")), NAMED),
        ((LAST,), LAST.parameters),
        ((LAST, mesh()), LAST.parameters),
        ((NAMED, LAST, mesh("absent")), LAST.parameters),
        ((DENY, LAST, mesh("default", kind="ConfigMap", group="")), LAST.parameters),
        ((DENY, mesh("absent")), BUILT_IN),
        ((NAMED, undecodable("named"), mesh("named")), NAMED),
        ((LAST, undecodable("named"), mesh("named")), LAST.parameters),
    ],
)
def test_the_object_in_force(values: tuple[Keyed, ...], found: object):
    assert parameters_in_force(view_of(*values)).parameters == found


def test_where_no_generation_was_ever_read_the_strictest_of_the_unread_one_applies():
    found = parameters_in_force(view_of(undecodable("default")))
    assert (found.parameters.metadata.name, found.parameters.spec) == ("default", DENIED)
    assert found.problem == "MeshParameters default: spec: is bad"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((), ""),
        ((mesh(),), ""),
        ((NAMED, mesh("named")), ""),
        ((mesh("absent"),), "spec.parametersRef: MeshParameters absent does not exist"),
        ((mesh("a", kind="ConfigMap", group="", namespace="b"),), f"spec.parametersRef: ConfigMap b/a {NONE}"),
        ((mesh("a", group="x.y"),), f"spec.parametersRef: MeshParameters.x.y a {NONE}"),
        ((NAMED, undecodable("named"), mesh("named")), "MeshParameters named: spec: is bad"),
    ],
)
def test_the_mesh_is_told_what_is_wrong(values: tuple[Keyed, ...], problem: str):
    assert parameters_in_force(view_of(*values)) == InForce(parameters_in_force(view_of(*values)).parameters, problem)
    view = view_of(mesh(), *values)
    ((status,),) = translate_mesh_status(view, mesh().key).statuses.values()
    (condition,) = status.conditions
    assert (condition.status, condition.reason) == (not problem, "InvalidParameters" if problem else "Accepted")
    assert problem in condition.message


def test_the_status_of_another_controller_s_mesh_is_not_ours():
    assert not translate_mesh_status(view_of(FOREIGN), FOREIGN.key).statuses


@pytest.mark.parametrize(
    ("default", "rules"),
    [("SameNamespace", (PolicyRule(frozenset({ServiceAccount("app", ANY)})),)), ("Deny", ())],
)
def test_a_pod_that_no_policy_selects_has_the_default_as_its_policy(default: str, rules: tuple[PolicyRule, ...]):
    values = parameters(default, "shop")
    assert policies_of(view_of(values), POD) == [Policy(values.key, rules)]
    for exempt in ("kube-system", "weft-system", "shop"):
        assert default_policies(values, exempt) == []


def test_nothing_is_a_policy_where_the_default_is_to_allow():
    assert policies_of(view_of(parameters("Allow")), POD) == []
    assert policies_of(view_of(), POD) == []


def test_a_policy_replaces_the_default_and_its_pod_does_not_depend_on_the_parameters():
    view = view_of(DENY, policy({"sources": [from_account("web")]}))
    (found,) = policies_of(view, POD)
    assert found.key.kind == "AuthorizationPolicy"
    assert not {key for key in view.reads if "MeshParameters" in key}


def test_spiffe_ids_are_of_the_trust_domain_of_the_mesh():
    made = policy(
        {"sources": [from_spiffe("spiffe://a.b/ns/app/sa/x"), from_spiffe("spiffe://cluster.local/ns/app/sa/y")]}
    )
    (found,) = policies_of(view_of(made), POD)
    assert found == replaced(found, rules=(PolicyRule(frozenset({ServiceAccount("app", "y")})),))
    (found,) = policies_of(view_of(made, parameters(trustDomain="a.b")), POD)
    assert found == replaced(found, rules=(PolicyRule(frozenset({ServiceAccount("app", "x")})),))
