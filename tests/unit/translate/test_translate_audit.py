"""Audited policies: nothing of them is enforced, and what they would decide is told to the kernel apart."""

from typing import Any

import pytest

from agent.ir.authorization import ANY_CLIENT, Grant, account_id
from agent.ir.http import BackendPort
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.ir.request_conditions import RequestConditions
from agent.ir.requirements import AuditedRequirements, RequestRule, Requirement
from agent.kube.decode import decode
from agent.kube.undecodable_policy import undecodable_policy
from agent.model.authorization import AUDIT, AuthorizationPolicy, UndecodableAuthorizationPolicy
from agent.model.change import Problem, Upsert
from agent.model.core import Pod, PodIP, PodSpec, PodStatus, Service, ServiceSpec
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.translate.policies import audit_of, policies_of
from agent.translate.policy_status import translate_policy_status
from agent.translate.requirements import backend_audits
from support.parameters import parameters
from support.policies import POLICY, application_document, from_account, policy_document
from support.translate import view_of

CLIENT = {"sources": [from_account("client")], "networkAttributes": {"ports": [80]}}
GRANT = Grant(account_id("app", "client"), 80)
WEB = Pod(
    ObjectMeta("w", "app", labels={"app": "web"}, uid="u-1"), PodSpec("here"), PodStatus(pod_ips=(PodIP("10.1.0.5"),))
)


def annotated(document: dict[str, Any], value: str = "true") -> AuthorizationPolicy:
    """The policy of a document with the annotation."""
    document["metadata"]["annotations"] = {AUDIT: value}
    (found,) = decode(document, "here")
    assert isinstance(found, AuthorizationPolicy)
    return found


def plain(document: dict[str, Any]) -> AuthorizationPolicy:
    (found,) = decode(document, "here")
    assert isinstance(found, AuthorizationPolicy)
    return found


def output(*values: Any) -> Output:
    """Of the pod `WEB`, with these objects beside it."""
    translator = Translator(Store(), Options("here"))
    translator.update([*map(Upsert, (WEB, PodCgroup("u-1", 7), *values))])
    (found,) = [item for item in translator.outputs.values() if item.pods]
    return found


def test_an_audited_policy_alone_protects_nothing_and_is_audited() -> None:
    found = output(annotated(policy_document(CLIENT)))
    assert (found.servers, list(found.audited)) == ({}, [7])
    plan = found.audited[7]
    assert (plan.grants, plan.policies, plan.addresses) == ((GRANT,), (POLICY,), ("10.1.0.5",))
    assert [str(source) for source in plan.sources] == ["app/client"], "its clients of other nodes are watched"


def test_what_would_be_admitted_is_what_both_admit() -> None:
    enforced = plain(policy_document({"networkAttributes": {"ports": [9]}}, name="enforced"))
    found = output(annotated(policy_document(CLIENT)), enforced)
    assert found.servers[7].grants == (Grant(ANY_CLIENT, 9),)
    assert [key.name for key in found.servers[7].policies] == ["enforced"]
    assert set(found.audited[7].grants) == {GRANT, Grant(ANY_CLIENT, 9)}
    assert found.audited[7].policies == (POLICY,)


def test_an_audited_policy_would_replace_the_default_of_the_mesh_which_holds_meanwhile() -> None:
    found = output(annotated(policy_document(CLIENT)), parameters("SameNamespace"))
    assert found.servers[7].grants == (Grant(account_id("app", "*"), 0),)
    assert found.audited[7].grants == (GRANT,)


@pytest.mark.parametrize("value", ["false", "True", "yes", ""])
def test_any_other_value_leaves_the_policy_enforced(value: str) -> None:
    found = output(annotated(policy_document(CLIENT), value))
    assert (found.servers[7].grants, found.audited) == ((GRANT,), {})


def test_a_policy_about_requests_is_not_audited_at_the_server_and_leads_no_traffic_to_the_waypoint() -> None:
    service = Service(ObjectMeta("web", "app"), ServiceSpec(selector={"app": "web"}))
    policy = annotated(application_document({}))
    found = output(policy, service)
    assert (found.servers, found.audited) == ({}, {})
    view = view_of(policy, service)
    assert not view.has_service_policies(service.key)
    assert view_of(plain(application_document({})), service).has_service_policies(service.key)
    audit = audit_of(view, WEB)
    assert audit is not None, "the waypoint judges requests by it"
    assert (policies_of(view, WEB), audit.audited) == ([], (POLICY,))


def test_one_that_cannot_be_decoded_is_not_enforced_either() -> None:
    document = policy_document(action="DENY")
    document["metadata"]["annotations"] = {AUDIT: "true"}
    store = Store()
    (fact,) = undecodable_policy(document, Problem("here", "it", "spec.action", "is bad"))
    assert isinstance(fact, UndecodableAuthorizationPolicy)
    store.apply([Upsert(fact)])
    view = TrackedView(store)
    audit = audit_of(view, WEB)
    assert audit is not None
    assert (policies_of(view, WEB), [policy.rules for policy in audit.policies]) == ([], [()])


def test_the_status_says_that_it_is_not_enforced() -> None:
    (status,) = translate_policy_status(view_of(annotated(policy_document({}))), POLICY).statuses[POLICY]
    (condition,) = status.conditions
    assert (condition.status, condition.message) == (
        True,
        "weft.dev/audit: not enforced; what it would decide is counted in weft_authz_total",
    )


def audits(*values: Any) -> dict[str, tuple[AuditedRequirements, ...]]:
    """What is audited at the backends of the listener of a Service with a Route, by endpoint's Service."""
    store = Store()
    store.apply([*map(Upsert, (WEB, *values))])
    view = TrackedView(store)
    found = {
        address: backend_audits(view, BackendPort("app", "web", 80), [(address, 80)])
        for address in ("10.1.0.5", "10.2.0.5")
    }
    return {address: item for address, item in found.items() if item}


SERVICE = Service(ObjectMeta("web", "app"), ServiceSpec(selector={"app": "web"}))
REQUESTS = CLIENT | {"httpAttributes": {"methods": ["GET"]}}
RULES = (RequestRule(RequestConditions(("GET",)), (ServiceAccount("app", "client"),)),)


def test_the_waypoint_audits_a_policy_about_requests_at_pods_of_every_node() -> None:
    found = audits(annotated(application_document(REQUESTS)), SERVICE)
    expected = (AuditedRequirements((POLICY,), (Requirement((POLICY,), (), RULES),)),)
    assert found == {"10.1.0.5": expected, "10.2.0.5": expected}
    assert audits(plain(application_document(REQUESTS)), SERVICE) == audits(SERVICE) == {}


def test_of_pods_of_other_nodes_only_policies_for_their_service_are_known() -> None:
    assert list(audits(annotated(policy_document(CLIENT)), SERVICE)) == ["10.1.0.5"]


def test_what_is_enforced_counts_at_the_waypoint_too_and_the_default_does_not() -> None:
    enforced = plain(policy_document(CLIENT, name="enforced"))
    (found,) = audits(annotated(application_document(REQUESTS)), enforced, SERVICE)["10.1.0.5"]
    assert [item.name for item in found.requirements] == ["app/enforced", "app/p"]
    (found,) = audits(annotated(application_document(REQUESTS)), parameters("Deny"), SERVICE)["10.1.0.5"]
    assert [item.name for item in found.requirements] == ["app/p"]


def test_a_policy_that_would_admit_everybody_is_audited_too() -> None:
    (found,) = audits(annotated(application_document({})), SERVICE)["10.1.0.5"]
    assert found == AuditedRequirements((POLICY,))
