"""What the waypoint asks of clients: of which backends, and who the clients are."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as altered

from agent.ir.http import BackendPort, Pool, Session
from agent.ir.plan import PodPlan
from agent.ir.policy import ServiceAccount
from agent.ir.requirements import UNKNOWN, Requirement
from agent.ir.tables import Mode, PodFlag
from agent.model.authorization import UndecodableAuthorizationPolicy
from agent.model.change import Delete, Upsert
from agent.model.core import Pod
from agent.model.facts import NodeReport
from agent.model.meta import Key, ObjectMeta
from agent.model.parameters import MeshAuthorization, MeshParameters, MeshParametersSpec
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.store.store import Store, TrackedView
from agent.translate.client_allow_list import client_accounts
from agent.translate.filters.external_auth import Authorizer
from agent.translate.filters.request_mirror import Mirror
from agent.translate.requirements import backend_requirements
from agent.translate.rule_requirements import copies_warnings, of_rule, of_share, without_forbidden_copies
from agent.translate.workload import workload_of
from support.policies import from_account, policy
from support.translate import endpoint, pod, slice_of
from support.waypoint.rules import V1, V2, any_path, filtered, redirects, rule, to

WEB, CART = ServiceAccount("app", "web"), ServiceAccount("app", "cart")
ONE, TWO = Requirement((), (WEB,)), Requirement((), (CART,))
AUTH, COPIES = BackendPort("app", "auth", 80), BackendPort("app", "copies", 80)


def labelled(name: str, address: str, **labels: str) -> Pod:
    made = pod(name, address)
    return altered(made, metadata=altered(made.metadata, labels=labels))


def known(*values: Any) -> Store:
    store = Store()
    store.apply(map(Upsert, values))
    return store


def test_a_backend_asks_what_the_policies_of_each_endpoint_ask_at_its_port() -> None:
    store = known(
        labelled("one", "10.1.0.1", app="web"),
        labelled("two", "10.1.0.2", app="other"),
        policy(
            {"sources": [from_account("web")], "networkAttributes": {"ports": [8080]}},
            {"sources": [from_account("cart")], "networkAttributes": {"ports": [8081]}},
            selector={"matchLabels": {"app": "web"}},
        ),
    )
    key = Key("AuthorizationPolicy", "app", "p")
    view = TrackedView(store)
    assert backend_requirements(view, [("10.1.0.1", 8080), ("10.1.0.2", 8080)]) == (Requirement((key,), (WEB,)),)
    assert backend_requirements(view, [("10.1.0.1", 8081)]) == (Requirement((key,), (CART,)),)
    assert backend_requirements(view, [("10.1.0.1", 9)]) == (Requirement((key,)),)
    assert backend_requirements(view, [("10.1.0.2", 8080), ("10.9.9.9", 8080)]) == ()


def test_without_any_policy_no_endpoint_is_looked_at() -> None:
    view = TrackedView(known(labelled("one", "10.1.0.1")))
    assert backend_requirements(view, [("10.1.0.1", 80)]) == ()
    assert not {key for key in view.reads if key[0] in ("holders", "endpoint")}


def test_the_default_of_the_mesh_is_asked_for_where_no_policy_selects_the_pod() -> None:
    spec = MeshParametersSpec(authorization=MeshAuthorization("SameNamespace"))
    store = known(labelled("one", "10.1.0.1"), MeshParameters(ObjectMeta("default"), spec))
    required = Requirement((Key("MeshParameters", "", "default"),), (ServiceAccount("app", "*"),))
    assert backend_requirements(TrackedView(store), [("10.1.0.1", 80)]) == (required,)


@pytest.mark.parametrize(
    "change",
    [
        Upsert(policy({"sources": [from_account("cart")]})),
        Upsert(labelled("two", "10.1.0.1")),
        Upsert(labelled("one", "10.1.0.1", app="web")),
        Delete(Key("AuthorizationPolicy", "app", "p")),
    ],
    ids=["policy", "pod", "labels", "policy-gone"],
)
def test_it_is_asked_again_when_an_answer_changes(change: Any) -> None:
    store = known(labelled("one", "10.1.0.1"), policy({"sources": [from_account("web")]}))
    view = TrackedView(store)
    backend_requirements(view, [("10.1.0.1", 80)])
    assert view.reads & store.apply([change])


def test_a_policy_that_cannot_be_decoded_lets_nobody_in() -> None:
    broken = UndecodableAuthorizationPolicy(Key("AuthorizationPolicy", "app", "p"), 1, None, "spec", "is wrong")
    store = known(labelled("one", "10.1.0.1"), broken)
    assert [item.clients for item in backend_requirements(TrackedView(store), [("10.1.0.1", 80)])] == [()]


def test_an_endpoint_on_another_node_asks_what_its_node_enforces() -> None:
    report = NodeReport("n2", guarded=(Guarded("app", ("10.2.0.1",), (PolicyGeneration("p", 1),)),))
    there = slice_of("web", altered(endpoint("10.2.0.1"), node_name="n2"))
    required = Requirement((Key("AuthorizationPolicy", "app", "p"),), (WEB,))
    policies = policy({"sources": [from_account("web")]})
    found = [
        backend_requirements(TrackedView(known(*values)), [("10.2.0.1", 80)])
        for values in ((report, there, policies), (report, there), (there, policies))
    ]
    assert found == [(required,), (UNKNOWN,), ()], "a policy that is not known here closes the endpoint"


def test_a_rule_with_one_backend_asks_for_it_and_for_its_authorization_server() -> None:
    required = rule(any_path(), to(V1), resolved=(Authorizer(AUTH),))
    assert of_rule(required, {V1: (ONE,), AUTH: (TWO,)}) == (TWO, ONE)
    assert of_rule(required, {}) == ()


def test_a_share_asks_for_its_own_backend() -> None:
    required, by_backend = rule(any_path(), to(V1, V2, None)), {V1: (ONE,), V2: (TWO,)}
    assert of_rule(required, by_backend) == ()
    assert [of_share(required, item, by_backend) for item in required.backends] == [(ONE,), (TWO,), ()]


def test_sessions_ask_for_all_backends_because_a_session_stays_with_its_endpoint() -> None:
    pool = Pool((V1, V2))
    required = replace(rule(any_path(), to(V1)), session=Session("s", pool=pool))
    assert of_rule(required, {V1: (ONE,), V2: (TWO,)}) == (TWO, ONE)


def test_a_redirect_asks_for_nothing() -> None:
    assert of_rule(rule(any_path(), (), redirects(hostname="x")), {V1: (ONE,)}) == ()


@pytest.mark.parametrize(
    ("backends", "required", "kept"),
    [
        (to(V1), {}, True),
        (to(V1), {COPIES: (ONE,)}, False),
        (to(V1), {V1: (ONE,), COPIES: (ONE,)}, True),
        (to(V1), {V1: (ONE,), COPIES: (TWO,)}, False),
        (to(V1), {V1: (ONE, TWO), COPIES: (TWO,)}, True),
        (to(V1, V2), {V1: (ONE,), COPIES: (ONE,)}, False),
        (to(V1, None), {V1: (ONE,), COPIES: (ONE,)}, True),
    ],
)
def test_copies_are_made_where_the_requests_of_every_backend_may_go(backends: Any, required: Any, kept: bool) -> None:
    copied = rule(any_path(), backends, resolved=(Mirror(COPIES, 1),))
    assert bool(without_forbidden_copies(copied, required).resolved) is kept
    assert bool(list(copies_warnings([copied], required))) is not kept


def test_copies_of_one_backend_depend_on_that_backend() -> None:
    by_v1 = replace(filtered(redirects(hostname="x"), by=V1), resolved=(Mirror(COPIES, 1),))
    copied = rule(any_path(), (by_v1, *to(V2)))
    assert list(copies_warnings([copied], {V1: (ONE,), COPIES: (ONE,)})) == []
    assert list(copies_warnings([copied], {V2: (ONE,), COPIES: (ONE,)})) != []


def plan(name: str, address: str, account: str = "web", listed: bool = True) -> PodPlan:
    made = pod(name, address)
    return PodPlan(
        *(made.key, "app", Mode.L7, PodFlag.NONE, (address,), workload_of(made)),
        allow_listed=listed,
        service_account=account,
    )


def test_an_address_has_an_identity_when_its_pod_is_certain_and_has_an_account() -> None:
    pods = [
        plan("a", "10.1.0.1"),
        plan("b", "10.1.0.2", account=""),
        plan("c", "10.1.0.3", listed=False),
        plan("d", "10.1.0.4"),
        plan("e", "10.1.0.4", account="cart"),
        plan("f", "10.1.0.5"),
        plan("g", "10.1.0.5"),
        plan("h", "10.1.0.6", account=""),
        plan("i", "10.1.0.6"),
    ]
    assert client_accounts(pods) == {"10.1.0.1": WEB, "10.1.0.5": WEB}
