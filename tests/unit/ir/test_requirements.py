"""What the waypoint asks of a client is what the policies of the endpoints decide."""

from hypothesis import given
from hypothesis import strategies as st
from unit.ir.test_policy import CLIENTS, POLICIES, PORTS, client

from agent.ir.identity import Identity
from agent.ir.policy import Policy, PolicyRule, ServiceAccount, decide
from agent.ir.requirements import UNKNOWN, Requirement, requirement, unmet
from agent.model.meta import Key


@given(POLICIES, CLIENTS, PORTS)
def test_a_client_meets_a_requirement_when_the_policies_allow_its_connection(
    policies: list[Policy], who: Identity | None, port: int
) -> None:
    found = requirement(policies, port)
    assert (found is None or found.allows(who)) is decide(policies, who, port).allowed


@given(st.permutations([Policy(Key("AuthorizationPolicy", "a", name)) for name in "xyz"]))
def test_the_order_of_policies_makes_no_difference(policies: list[Policy]) -> None:
    assert requirement(policies, 80) == requirement(sorted(policies, key=lambda item: item.key), 80)


def test_a_rule_without_sources_admits_every_client_at_its_ports_only() -> None:
    policies = [Policy(Key("AuthorizationPolicy", "a", "p"), (PolicyRule(ports=frozenset({80})),))]
    assert requirement(policies, 80) is None
    assert requirement(policies, 81) == Requirement((policies[0].key,), ())


def test_the_first_requirement_that_is_not_met_is_named() -> None:
    one, two = (Requirement((), (ServiceAccount(name, "x"),)) for name in ("a", "b"))
    assert unmet((one, two), client("a", "x")) == two
    assert unmet((one,), client("a", "x")) is None
    assert unmet((one, UNKNOWN), client("a", "x")) == UNKNOWN
    assert unmet((), None) is None


def test_names_have_no_spaces() -> None:
    keys = tuple(Key("AuthorizationPolicy", "app", name) for name in ("a", "b"))
    assert Requirement(keys).name == "app/a+app/b"
    assert Requirement((Key("MeshParameters", "", "default"),)).name == "MeshParameters/default"
    assert Requirement((Key("MeshParameters", "", "default"),)).name == "MeshParameters/default"
    assert UNKNOWN.name == "unknown"
