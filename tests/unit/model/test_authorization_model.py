"""Which pods a policy selects."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from agent.model.authorization import (
    AuthorizationPolicy,
    AuthorizationRule,
    AuthorizationSource,
    LabelSelector,
    UndecodableAuthorizationPolicy,
    selects,
)
from agent.model.core import Pod
from agent.model.meta import ObjectMeta
from support.policies import POLICY, WEB, from_account, from_spiffe, policy


def pod(namespace: str = "app", **labels: str) -> Pod:
    return Pod(ObjectMeta("a", namespace, labels=labels))


@pytest.mark.parametrize(
    ("selector", "selected", "others"),
    [
        ({}, [{}, {"app": "web"}], []),
        (WEB, [{"app": "web"}, {"app": "web", "tier": "x"}], [{}, {"app": "db"}]),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, [{"app": "db"}], [{}]),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, [{}], [{"app": "web"}]),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, [{"app": ""}], [{}]),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, [{}], [{"app": ""}]),
        (
            {**WEB, "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            [{"app": "web", "tier": "x"}],
            [{"app": "web"}, {"tier": "x"}],
        ),
    ],
)
def test_a_policy_selects_pods_by_all_conditions_on_their_labels(
    selector: Any, selected: list[dict[str, str]], others: list[dict[str, str]]
) -> None:
    made = policy(selector=selector)
    assert all(selects(made, pod(**labels)) for labels in selected)
    assert not any(selects(made, pod(**labels)) for labels in others)


def test_no_policy_selects_pods_of_another_namespace() -> None:
    assert not selects(policy(), pod("other"))
    assert not selects(UndecodableAuthorizationPolicy(POLICY, 1, None, "$", "is bad"), pod("other"))


def test_an_undecodable_policy_selects_by_what_is_known_of_it() -> None:
    web, nothing = pod(app="web"), pod()
    by_label = UndecodableAuthorizationPolicy(POLICY, 1, (LabelSelector({"app": "web"}),), "$", "is bad")
    assert (selects(by_label, web), selects(by_label, nothing)) == (True, False)
    assert selects(UndecodableAuthorizationPolicy(POLICY, 1, None, "$", "is bad"), nothing)


SOURCES = st.sampled_from([from_account("a"), from_account("*", "shop"), from_spiffe("spiffe://cluster.local/a")])
PORTS = st.lists(st.integers(1, 65535), min_size=1, max_size=16)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "sources": st.lists(SOURCES, min_size=1, max_size=3),
        "networkAttributes": st.fixed_dictionaries({}, optional={"ports": PORTS}),
    },
)


@given(st.lists(RULES, max_size=3))
def test_a_policy_that_is_written_and_read_again_is_the_same(rules: list[Any]) -> None:
    made = policy(*rules)
    assert msgspec.json.decode(msgspec.json.encode(made), type=AuthorizationPolicy) == made


@pytest.mark.parametrize("sources", [UNSET, (), (AuthorizationSource("SPIFFE"),)])
def test_an_empty_list_of_sources_is_not_lost(sources: Any) -> None:
    """It would become a rule for every client."""
    rule = AuthorizationRule(sources)
    assert msgspec.json.decode(msgspec.json.encode(rule), type=AuthorizationRule) == rule
