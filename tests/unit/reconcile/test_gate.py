"""The gate: traffic comes after proof, and resources stay for those who are still connected."""

from agent.plan.envoys import DRAIN_SECONDS
from agent.plan.resources import ResourceName, ResourceType
from agent.reconcile.gate import LINGER_SECONDS, Gate

NAME = "faces/smiley:80"
LISTENER, ROUTE = ResourceName(ResourceType.LISTENER, NAME), ResourceName(ResourceType.ROUTE, NAME)
CLUSTER = ResourceName(ResourceType.CLUSTER, "faces/smiley-v1:80/http")
RESOURCES = {LISTENER: {"name": NAME}, ROUTE: {"name": NAME}, CLUSTER: {"name": CLUSTER.name}}
NEEDS = {NAME: frozenset(RESOURCES)}


def test_a_listener_is_due_when_everything_it_needs_is_acknowledged():
    gate = Gate()
    gate.want(RESOURCES, NEEDS, now=0)
    assert gate.due({LISTENER, ROUTE}, gate.ready) == []
    assert gate.due({LISTENER, ROUTE, CLUSTER}, gate.ready) == [NAME]


def test_a_ready_listener_is_not_due_again_until_the_waypoint_was_lost():
    gate = Gate()
    gate.want(RESOURCES, NEEDS, now=0)
    gate.ready.add(NAME)
    assert gate.due(RESOURCES, gate.ready) == []
    gate.lose()
    assert gate.due(RESOURCES, gate.ready) == [NAME]


def test_what_is_no_longer_wanted_lingers_then_drains_then_goes():
    gate = Gate()
    gate.want(RESOURCES, NEEDS, now=0)
    gate.ready.add(NAME)
    assert gate.next_end is None
    assert gate.want({}, {}, now=10) == RESOURCES
    assert gate.next_end == 10 + LINGER_SECONDS
    assert gate.due(RESOURCES, gate.ready) == []
    assert gate.expire(10 + LINGER_SECONDS - 1) == []
    assert gate.want({}, {}, now=10 + LINGER_SECONDS - 1) == RESOURCES
    assert gate.expire(10 + LINGER_SECONDS) == [NAME]
    assert gate.want({}, {}, now=10 + LINGER_SECONDS) == {ROUTE: RESOURCES[ROUTE], CLUSTER: RESOURCES[CLUSTER]}
    assert gate.listeners == []
    end = 10 + LINGER_SECONDS + DRAIN_SECONDS
    assert gate.next_end == end
    assert gate.expire(end - 1) == []
    assert gate.want({}, {}, now=end - 1).keys() == {ROUTE, CLUSTER}, "who is connected still asks"
    assert gate.expire(end) == []
    assert gate.want({}, {}, now=end) == {}


def test_a_listener_that_comes_back_while_it_lingers_has_to_prove_itself_only_by_acknowledgement():
    gate = Gate()
    gate.want(RESOURCES, NEEDS, now=0)
    gate.ready.add(NAME)
    gate.want({}, {}, now=1)
    gate.want(RESOURCES, NEEDS, now=2)
    assert gate.expire(1 + LINGER_SECONDS) == []
    assert gate.due(RESOURCES, gate.ready) == [NAME]


def test_shared_resources_stay_for_the_listener_that_is_still_wanted():
    other = ResourceName(ResourceType.LISTENER, "faces/color:80")
    gate = Gate()
    both = {**RESOURCES, other: {"name": other.name}}
    gate.want(both, {**NEEDS, other.name: frozenset({other, CLUSTER})}, now=0)
    kept = {CLUSTER: RESOURCES[CLUSTER], other: both[other]}
    gate.want(kept, {other.name: frozenset({other, CLUSTER})}, now=1)
    gate.expire(1 + LINGER_SECONDS)
    gate.expire(1 + LINGER_SECONDS + DRAIN_SECONDS)
    assert gate.want(kept, {other.name: frozenset({other, CLUSTER})}, now=40) == kept
