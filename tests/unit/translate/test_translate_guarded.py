"""What decides who may connect to an address: of a pod of this node, and of one that another node reports."""

from typing import Any

import pytest

from agent.ir.policy import GuardedAddress, Policy
from agent.kube.decode import decode
from agent.model.change import Delete, Keyed, Upsert
from agent.model.facts import NodeReport
from agent.model.meta import Key
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.store.store import Store, TrackedView
from agent.translate.guarded import guarded_at
from agent.translate.policies import translate_policy
from support.parameters import parameters
from support.policies import from_account, policy

SERVER = "10.0.2.1"
RULE = {"sources": [from_account("web")]}
RULES = (translate_policy(policy(RULE), "cluster.local"),)
REPORT = NodeReport("n2", guarded=(Guarded("app", (SERVER, "10.0.2.2"), (PolicyGeneration("p", 1),)),))


def slices(address: str = SERVER, node: str = "n2", name: str = "s") -> Keyed:
    return decoded(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "app", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "nodeName": node}],
            "ports": [{"port": 80}],
        }
    )


def pod(address: str = "10.0.1.1", **spec: Any) -> Keyed:
    return decoded(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "app", "uid": "u"},
            "spec": {"nodeName": "n1", **spec},
            "status": {"podIPs": [{"ip": address}]},
        }
    )


def decoded(document: dict[str, Any]) -> Keyed:
    (found,) = decode(document, "here")
    assert hasattr(found, "key"), found
    return found


def at(address: str, *values: Keyed) -> GuardedAddress | None:
    store = Store()
    store.apply(map(Upsert, values))
    return guarded_at(TrackedView(store), address)


def test_a_pod_of_another_node_is_protected_by_the_policies_that_its_node_reports() -> None:
    found = policy(RULE)
    assert at(SERVER, REPORT, slices(), found) == GuardedAddress("app", RULES)
    assert at("10.0.2.3", REPORT, slices("10.0.2.3"), found) is None


def test_a_policy_that_is_not_known_in_that_generation_is_not_exact() -> None:
    newer = replace_report(PolicyGeneration("p", 2))
    assert at(SERVER, newer, slices(), policy(RULE)) == GuardedAddress("app", RULES, exact=False, current=False)
    older = replace_report(PolicyGeneration("p", 0))
    assert at(SERVER, older, slices(), policy(RULE)) == GuardedAddress("app", RULES, exact=False)
    gone = replace_report(PolicyGeneration("p", 1), PolicyGeneration("q", 0))
    assert at(SERVER, gone, slices(), policy(RULE)) == GuardedAddress(
        "app",
        (*RULES, Policy(Key("AuthorizationPolicy", "app", "q"))),
        exact=False,
        current=False,
    ), "one that is not known allows nothing"


def replace_report(*policies: PolicyGeneration) -> NodeReport:
    return NodeReport("n2", guarded=(Guarded("app", (SERVER,), policies),))


def test_without_policies_the_default_of_the_mesh_decides() -> None:
    deny = parameters("Deny")
    assert at(SERVER, replace_report(), slices(), deny) == GuardedAddress("app", (Policy(deny.key),))
    assert at(SERVER, replace_report(), slices()) == GuardedAddress("app", (), exact=False, current=False), (
        "it is not known here"
    )


@pytest.mark.parametrize(
    "item", [slices(node="n3"), slices(node=""), slices("10.0.2.9")], ids=["other", "none", "absent"]
)
def test_a_node_speaks_only_for_endpoints_that_are_on_it(item: Keyed) -> None:
    assert at(SERVER, REPORT, item, policy(RULE)) is None


def test_two_nodes_that_report_an_address_leave_in_doubt_what_its_node_enforces() -> None:
    other = NodeReport("n3", guarded=REPORT.guarded)
    found = at(SERVER, REPORT, other, slices(), slices(node="n3", name="t"), policy(RULE))
    assert found is not None
    assert not found.exact
    assert not found.current
    assert at(SERVER, REPORT, other, slices(), policy(RULE)) == GuardedAddress("app", RULES)


def test_for_a_pod_of_this_node_no_report_is_needed_and_none_counts() -> None:
    found = policy(RULE)
    lie = NodeReport("n2", guarded=(Guarded("app", ("10.0.1.1",), (PolicyGeneration("q", 1),)),))
    assert at("10.0.1.1", pod(), found) == GuardedAddress("app", RULES)
    assert at("10.0.1.1", pod(), found, lie, slices("10.0.1.1")) == GuardedAddress("app", RULES)
    assert at("10.0.1.1", pod(), lie, slices("10.0.1.1")) is None


def test_it_is_asked_again_when_an_answer_changes() -> None:
    store = Store()
    store.apply(map(Upsert, (REPORT, slices(), policy(RULE))))
    view = TrackedView(store)
    guarded_at(view, SERVER)
    for change in (
        Upsert(replace_report(PolicyGeneration("p", 2))),
        Upsert(slices(node="n3")),
        Upsert(policy(RULE, name="q")),
        Delete(REPORT.key),
    ):
        assert view.reads & store.apply([change]), change


def test_a_report_of_other_addresses_changes_nothing() -> None:
    store = Store()
    store.apply(map(Upsert, (REPORT, slices())))
    view = TrackedView(store)
    guarded_at(view, SERVER)
    more = (*REPORT.guarded, Guarded("app", ("10.0.2.7",)))
    assert not view.reads & store.apply([Upsert(NodeReport("n2", guarded=more))])
