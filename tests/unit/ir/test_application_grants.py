"""Which sources a pod admits where policies of the level Application select it: waypoints, and nobody else."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from unit.ir.test_policy import KEYS, PORTS, RULES

from agent.ir.authorization import NODE, WAYPOINTS, admits, grants, peer_row, waypoint_id, waypoint_row
from agent.ir.policy import Policy, PolicyRule

NODES = {"n1": {("a", "x")}, "n2": {("a", "y"), ("b", "x")}, "n3": set[tuple[str, str]]()}
SOME_RULES = st.lists(RULES, max_size=3).map(tuple)
POLICIES = st.lists(st.builds(Policy, KEYS, SOME_RULES, application=st.booleans()), max_size=3)
APPLICATION = st.builds(Policy, KEYS, SOME_RULES, application=st.just(True))


def runs(node: str, rule: PolicyRule) -> bool:
    """Whether a rule admits a client on a node."""
    if rule.sources is None:
        return True
    return any(it.namespace == space and it.name in ("*", name) for it in rule.sources for space, name in NODES[node])


def waypoints(rule: PolicyRule) -> Iterable[int]:
    if rule.sources is None:
        return (WAYPOINTS,)
    return (waypoint_id(node) for node in NODES if runs(node, rule))


@given(POLICIES, APPLICATION, PORTS, st.sampled_from(sorted(NODES)))
def test_a_waypoint_is_admitted_where_each_level_admits_a_client_of_its_node(
    others: list[Policy], application: Policy, port: int, node: str
) -> None:
    policies = [*others, application]
    levels = [[it for it in policies if it.application is level] for level in (True, False)]
    expected = all(
        any(runs(node, rule) and port in (rule.ports or {port}) for policy in level for rule in policy.rules)
        for level in levels
        if level
    )
    assert admits(grants(policies, (), waypoints), waypoint_row(node), port) is expected


@given(POLICIES, APPLICATION, PORTS)
def test_no_other_client_is_admitted(others: list[Policy], application: Policy, port: int) -> None:
    found = grants([*others, application], (9000,), waypoints)
    clients = [None, *(peer_row(namespace, name) for namespace in "ab" for name in "xy")]
    assert not any(admits(found, client, port) for client in clients)
    assert [grant.port for grant in found if grant.identity == NODE] == [9000]
