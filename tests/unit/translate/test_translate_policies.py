"""AuthorizationPolicies as the rules that decide about a pod."""

import pytest

from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount
from agent.ir.request_conditions import PathCondition, RequestConditions
from agent.model.authorization import UndecodableAuthorizationPolicy
from agent.model.change import Delete, Upsert
from agent.model.core import Pod, Service, ServiceSpec
from agent.model.meta import ObjectMeta
from agent.model.parameters import DEFAULT_TRUST_DOMAIN
from agent.store.store import Store, TrackedView
from agent.translate.policies import policies_of, policy_errors, translate_policy
from support.policies import POLICY, WEB, application_policy, from_account, from_spiffe, http, policy
from support.translate import view_of

CLIENT = ServiceAccount("app", "client")
DOMAIN = DEFAULT_TRUST_DOMAIN


def rules(*documents: object) -> tuple[PolicyRule, ...]:
    return translate_policy(policy(*documents), DOMAIN).rules


def test_a_policy_without_rules_allows_nothing() -> None:
    assert translate_policy(policy(), DOMAIN) == Policy(POLICY, generation=1)


@pytest.mark.parametrize(
    ("source", "account"),
    [
        (from_account("client"), CLIENT),
        (from_account("client", "shop"), ServiceAccount("shop", "client")),
        (from_account("*"), ServiceAccount("app", ANY)),
        (from_account("*", "shop"), ServiceAccount("shop", ANY)),
        (from_spiffe("spiffe://cluster.local/ns/app/sa/client"), CLIENT),
    ],
)
def test_a_source_is_a_service_account(source: object, account: ServiceAccount) -> None:
    assert rules({"sources": [source]}) == (PolicyRule(frozenset({account})),)
    assert list(policy_errors(policy({"sources": [source]}), DOMAIN)) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("spiffe://other.example/ns/app/sa/client", "trust domain other.example"),
        ("spiffe://cluster.local/client", "is not spiffe://cluster.local/ns/NAMESPACE/sa/NAME"),
        ("spiffe://cluster.local/ns/app/sa/client/x", "is not spiffe://cluster.local/ns/NAMESPACE/sa/NAME"),
    ],
)
def test_an_identity_that_no_client_has_matches_none_and_is_told(uri: str, message: str) -> None:
    assert rules({"sources": [from_spiffe(uri)]}) == (PolicyRule(frozenset()),)
    made = policy({}, {"sources": [from_account("a"), from_spiffe(uri)]})
    assert translate_policy(made, DOMAIN).rules[1] == PolicyRule(frozenset({ServiceAccount("app", "a")}))
    (error,) = policy_errors(made, DOMAIN)
    assert (error.reason, error.field) == ("UnsupportedValue", "spec.rules[1].sources[1].spiffe")
    assert message in error.message


def test_a_rule_without_sources_or_ports_matches_any() -> None:
    assert rules({}) == (PolicyRule(),)
    assert rules({"networkAttributes": {}}) == (PolicyRule(),)
    assert rules({"networkAttributes": {"ports": [80, 81]}}) == (PolicyRule(None, frozenset({80, 81})),)


def pod(**labels: str) -> Pod:
    return Pod(ObjectMeta("a", "app", labels=labels))


def test_the_policies_of_a_pod_are_those_that_select_it() -> None:
    view = view_of(policy(name="all"), policy({}, name="web", selector=WEB))
    assert [item.key.name for item in policies_of(view, pod(app="web"))] == ["all", "web"]
    assert [item.key.name for item in policies_of(view, pod())] == ["all"]
    assert policies_of(view, Pod(ObjectMeta("a", "other"))) == []


def test_a_policy_for_a_service_selects_its_pods() -> None:
    service = Service(ObjectMeta("web", "app"), ServiceSpec(selector={"app": "web"}))
    other = Service(ObjectMeta("web", "other"), ServiceSpec(selector={"app": "other"}))
    view = view_of(application_policy({}), policy({}, name="all"), service, other)
    found = policies_of(view, pod(app="web"))
    assert [(item.key.name, item.application) for item in found] == [("p", True), ("all", False)]
    assert [item.key.name for item in policies_of(view, pod(app="other"))] == ["all"]
    assert policies_of(view_of(application_policy({})), pod(app="web")) == [], "without the Service it selects none"


def test_an_undecodable_policy_for_a_service_admits_no_request_to_its_pods() -> None:
    service = Service(ObjectMeta("web", "app"), ServiceSpec(selector={"app": "web"}))
    undecodable = UndecodableAuthorizationPolicy(POLICY, 2, (), "$", "is bad", (service.key,))
    assert policies_of(view_of(undecodable, service), pod(app="web")) == [Policy(POLICY, (), 2, application=True)]
    assert policies_of(view_of(undecodable, service), pod()) == []


def test_http_attributes_are_conditions_on_requests() -> None:
    written = [("Exact", "/a/"), ("PathPrefix", "/b/"), ("PathPrefix", "/")]
    attributes = http(methods=["GET", "PUT"], paths=written, headers=[("X-A", "B")])
    (found,) = translate_policy(application_policy(attributes), DOMAIN).rules
    paths = (PathCondition("/a/"), PathCondition("/b", exact=False), PathCondition("", exact=False))
    assert found == PolicyRule(conditions=RequestConditions(("GET", "PUT"), paths, (("x-a", "B"),)))
    assert translate_policy(application_policy({}, http()), DOMAIN).rules == (PolicyRule(), PolicyRule())


def test_an_undecodable_generation_has_no_effect_beside_the_one_before() -> None:
    undecodable = UndecodableAuthorizationPolicy(POLICY, 2, None, "$", "is bad")
    assert policies_of(view_of(undecodable), pod()) == [Policy(POLICY, generation=2)]
    before = Policy(POLICY, (PolicyRule(),), 1)
    assert policies_of(view_of(policy({}, selector=WEB), undecodable), pod(app="web")) == [before]
    assert policies_of(view_of(policy({}, selector=WEB), undecodable), pod()) == []


def test_a_pod_s_policies_are_read_again_when_any_of_its_namespace_changes() -> None:
    store = Store()
    view = TrackedView(store)
    policies_of(view, pod())
    undecodable = UndecodableAuthorizationPolicy(POLICY, 2, None, "$", "is bad")
    for value in (policy(), undecodable):
        assert view.reads & store.apply([Upsert(value)])
        assert view.reads & store.apply([Delete(value.key)])
    elsewhere = UndecodableAuthorizationPolicy(POLICY._replace(namespace="other"), 2, None, "$", "is bad")
    assert not view.reads & store.apply([Upsert(elsewhere)])
