"""When other nodes may rely on the waypoints of this node."""

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.policy_enforcement import PolicyEnforcement

BLUE, GREEN = (Envoy(number, name, Addresses(f"10.9.0.{number}")) for number, name in ((1, "blue"), (2, "green")))
LISTENER, ROUTE, IDENTITIES, CLUSTER = (
    ResourceName(kind, "x")
    for kind in (ResourceType.LISTENER, ResourceType.ROUTE, ResourceType.EXTENSION, ResourceType.CLUSTER)
)
NEEDS = [frozenset({LISTENER, ROUTE, IDENTITIES, CLUSTER})]
ENOUGH = frozenset({LISTENER, ROUTE, IDENTITIES})


def test_an_envoy_enforces_policies_once_it_has_all_listeners_and_what_they_judge_by() -> None:
    made = PolicyEnforcement()
    assert made.enforced is None
    for lacking in ENOUGH:
        made.observe(NEEDS, {BLUE: ENOUGH - {lacking}}, ())
        assert made.enforced is False
    made.observe(NEEDS, {BLUE: ENOUGH}, ())
    assert made.enforced is True


def test_a_change_on_its_way_is_no_reason_to_doubt() -> None:
    made = PolicyEnforcement()
    made.observe(NEEDS, {BLUE: ENOUGH}, ())
    made.observe(NEEDS, {BLUE: frozenset()}, (LISTENER,))
    assert made.enforced is True


def test_another_envoy_has_to_prove_it_too() -> None:
    made = PolicyEnforcement()
    made.observe(NEEDS, {BLUE: ENOUGH}, ())
    made.observe(NEEDS, {BLUE: ENOUGH, GREEN: frozenset()}, ())
    assert made.enforced is False
    made.observe(NEEDS, {GREEN: ENOUGH}, ())
    assert made.enforced is True
    made.observe(NEEDS, {BLUE: frozenset(), GREEN: ENOUGH}, ())
    assert made.enforced is False, "it may have been configured by another agent meanwhile"


def test_without_a_connection_the_last_answer_stays() -> None:
    made = PolicyEnforcement()
    made.observe(NEEDS, {BLUE: ENOUGH}, ())
    made.observe(NEEDS, {}, ())
    assert made.enforced is True


def test_a_rejected_route_table_does_not_close_the_pods_of_others_and_a_rejected_listener_does() -> None:
    made = PolicyEnforcement()
    made.observe(NEEDS, {BLUE: ENOUGH - {LISTENER}}, (LISTENER,))
    assert made.enforced is False
    made.observe(NEEDS, {BLUE: ENOUGH - {ROUTE}}, (ROUTE,))
    assert made.enforced is True


def test_without_listeners_there_is_nothing_to_acknowledge() -> None:
    made = PolicyEnforcement()
    made.observe([], {BLUE: frozenset()}, ())
    assert made.enforced is True
