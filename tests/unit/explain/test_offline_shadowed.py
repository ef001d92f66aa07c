"""`weft lint` names rules of policies that can be removed, and no others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.explain.lint import findings
from agent.explain.manifests import read
from agent.explain.shadowed_rules import shadowed_rules
from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount, decide
from agent.kube.directory_source import parsed
from agent.model.meta import Key
from support.explain import deployment, manifests, service
from support.policies import WEB, application_document, from_account, http, policy_document

EVERY: dict[str, Any] = {}
A, B = ({"sources": [from_account(name)]} for name in "ab")
AT_80 = {"networkAttributes": {"ports": [80]}}
SHADOWED = "it admits no client that these do not admit: "


def found(folder: Path, *documents: Any) -> list[tuple[str, str, str]]:
    """The object, field and rules of each finding."""
    made = manifests(folder, *documents)
    items = [item for item in findings(read(made), parsed(made)) if item.message.startswith(SHADOWED)]
    return [(item.object.partition("/")[2], item.field, item.message.removeprefix(SHADOWED)) for item in items]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([A], [B], []),
        ([A], [A], [("q", "spec.rules[0]", "AuthorizationPolicy app/p, spec.rules[0]")]),
        ([A | AT_80], [A], [("p", "spec.rules[0]", "AuthorizationPolicy app/q, spec.rules[0]")]),
        ([A], [EVERY], [("p", "spec.rules[0]", "AuthorizationPolicy app/q, spec.rules[0]")]),
        ([AT_80], [A], []),
        ([A, A], [B], [("p", "spec.rules[1]", "AuthorizationPolicy app/p, spec.rules[0]")]),
        (
            [A, {"sources": [from_account("c")]}],
            [{"sources": [from_account("a"), from_account("c")]}],
            [
                (
                    *("q", "spec.rules[0]"),
                    "AuthorizationPolicy app/p, spec.rules[0]; AuthorizationPolicy app/p, spec.rules[1]",
                )
            ],
        ),
        ([{"sources": [from_account("*")]}], [A], [("q", "spec.rules[0]", "AuthorizationPolicy app/p, spec.rules[0]")]),
        ([A], [], []),
    ],
)
@pytest.mark.parametrize("pods", [True, False], ids=["pods", "policies-alone"])
def test_a_rule_whose_clients_others_admit(
    tmp_path: Path, first: list[Any], second: list[Any], expected: list[tuple[str, str, str]], pods: bool
) -> None:
    policies = (policy_document(*first), policy_document(*second, name="q"))
    assert found(tmp_path, *policies, *([deployment("web")] if pods else [])) == expected


def test_a_rule_that_one_pod_needs_is_not_shadowed(tmp_path: Path) -> None:
    narrow, wide = policy_document(A, selector=WEB), policy_document(A, name="q")
    assert found(tmp_path / "1", narrow, wide, deployment("web"), deployment("db")) == [
        ("p", "spec.rules[0]", "AuthorizationPolicy app/q, spec.rules[0]")
    ]
    database = {"matchLabels": {"app": "db"}}
    assert found(tmp_path / "2", narrow, policy_document(A, name="q", selector=database), deployment("web")) == []
    # A policy that selects no pod of the manifests may select pods that are in a cluster.
    assert found(tmp_path / "3", narrow, policy_document(A, name="q", selector=database)) == []


def test_a_rule_about_requests_is_shadowed_by_one_about_the_same_or_all(tmp_path: Path) -> None:
    get, either = http(methods=["GET"]), http(methods=["GET", "PUT"])
    web = (deployment("web"), service("web", {"port": 80}))

    def rules(*first: Any) -> list[tuple[str, str, str]]:
        return found(tmp_path, *web, policy_document(A, name="n"), application_document(*first))

    name = "AuthorizationPolicy app/p"
    assert rules(A | get, get) == [("p", "spec.rules[0]", f"{name}, spec.rules[1]")]
    assert rules(A | get, A) == [("p", "spec.rules[0]", f"{name}, spec.rules[1]")]
    assert rules(A | get, A | either) == []
    assert rules(A, get) == []


NAMESPACES, ACCOUNTS, PORTS = st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 2)
SOURCES = st.builds(ServiceAccount, NAMESPACES, ACCOUNTS | st.just(ANY))
RULES = st.builds(PolicyRule, st.none() | st.frozensets(SOURCES, max_size=2), st.frozensets(PORTS, max_size=2))
CLIENTS = st.none() | st.builds(Identity, NAMESPACES, st.sampled_from("xyz"), st.just(Workload(*"ab12")))
POLICIES = st.lists(st.lists(RULES, max_size=3), min_size=1, max_size=3).map(
    lambda rules: [Policy(Key("AuthorizationPolicy", "a", f"{n}"), tuple(item)) for n, item in enumerate(rules)]
)
SETS = POLICIES.flatmap(lambda policies: st.lists(st.sets(st.sampled_from(policies), min_size=1), max_size=3))


@given(SETS, CLIENTS, st.integers(1, 3))
def test_without_the_rules_that_are_found_every_pod_admits_the_same(
    sets: list[set[Policy]], client: Identity | None, port: int
) -> None:
    gone = {(item.policy, item.position) for item in shadowed_rules(sets)}
    kept = [
        [
            replace(policy, rules=tuple(rule for n, rule in enumerate(policy.rules) if (policy.key, n) not in gone))
            for policy in each
        ]
        for each in sets
    ]
    for before, after in zip(sets, kept, strict=True):
        assert decide(before, client, port).allowed == decide(after, client, port).allowed
    assert list(shadowed_rules(kept)) == []
