"""Readiness of listeners: probed when all is acknowledged, and resources stay for those who are still connected."""

from agent.ir.envoy import DRAIN_SECONDS
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.waypoint.readiness import ListenerReadiness, Phase

NAME = "faces/smiley:80"
LISTENER, ROUTE = ResourceName(ResourceType.LISTENER, NAME), ResourceName(ResourceType.ROUTE, NAME)
CLUSTER = ResourceName(ResourceType.CLUSTER, "faces/smiley-v1:80/http")
NEEDS = {NAME: frozenset({LISTENER, ROUTE, CLUSTER})}


def test_a_listener_is_probed_when_everything_it_needs_is_acknowledged():
    made = ListenerReadiness()
    made.want(NEEDS, now=0)
    assert made.acknowledged({LISTENER, ROUTE}, ()) == []
    assert made.acknowledged({LISTENER, ROUTE, CLUSTER}, ()) == [NAME]
    assert made.acknowledged({LISTENER, ROUTE, CLUSTER}, {NAME}) == []


def test_its_phase_is_that_of_the_active_envoy():
    made = ListenerReadiness()
    made.want(NEEDS, now=0)
    assert made.phase(NAME, (), ()) is Phase.PENDING
    assert made.phase(NAME, (), {NAME}) is Phase.PROBING
    assert made.phase(NAME, {NAME}, {NAME}) is Phase.READY
    made.want({}, now=0)
    assert made.phase(NAME, {NAME}, ()) is Phase.DRAINING


def test_what_is_no_longer_wanted_drains_then_only_its_backends_stay_then_they_go():
    made = ListenerReadiness()
    made.want(NEEDS, now=0)
    assert (made.deadline, made.retained(NEEDS)) == (None, frozenset())
    assert made.retained(()) == NEEDS[NAME]
    made.want({}, now=10)
    assert (made.deadline, made.retained(())) == (10 + LISTENER_GRACE_SECONDS, NEEDS[NAME])
    assert (made.acknowledged(NEEDS[NAME], ()), made.listeners) == ([], [NAME])
    assert made.expire(10 + LISTENER_GRACE_SECONDS - 1) == []
    assert made.expire(10 + LISTENER_GRACE_SECONDS) == [NAME]
    assert (made.retained(()), made.listeners) == ({ROUTE, CLUSTER}, [])
    end = 10 + LISTENER_GRACE_SECONDS + DRAIN_SECONDS
    assert (made.deadline, made.expire(end - 1), made.retained(())) == (end, [], {ROUTE, CLUSTER})
    assert (made.expire(end), made.retained(()), made.deadline) == ([], frozenset(), None)


def test_a_listener_that_comes_back_while_it_drains_is_probed_again():
    made = ListenerReadiness()
    made.want(NEEDS, now=0)
    made.want({}, now=1)
    made.want(NEEDS, now=2)
    assert (made.expire(1 + LISTENER_GRACE_SECONDS), made.retained(NEEDS)) == ([], frozenset())
    assert made.acknowledged(NEEDS[NAME], ()) == [NAME]
