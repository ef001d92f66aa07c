"""The budget of listeners: who has a port keeps it, and no namespace takes the node's room from the others."""

from agent.waypoint.listener_budget import CAUTIOUS_CAPACITY, listener_budget, listener_owner, refused
from agent.waypoint.ports import FIRST_PORT, LAST_PORT

PORTS = LAST_PORT - FIRST_PORT + 1


def left_out(wanted, held=(), *capacities: int) -> dict[str, str]:
    return refused(wanted, held, listener_budget(held, capacities))


def many(namespace: str, number: int) -> list[str]:
    return [f"{namespace}/{at}:80" for at in range(number)]


def test_the_routes_namespace_is_charged():
    assert listener_owner("shop/web:80") == "shop"
    assert listener_owner("shop/web:80@front") == "front"


def test_the_smallest_envoy_and_the_ports_are_the_capacity():
    assert listener_budget((), (4000, 3000)).capacity == 3000
    assert listener_budget((), ()).capacity == CAUTIOUS_CAPACITY
    assert listener_budget((), (262_144,)).capacity == PORTS


def test_who_has_a_port_keeps_it():
    assert left_out(["b/1:80", "z/1:80"], ["z/1:80"], 2).keys() == {"b/1:80"}
    assert left_out(["a/1:80", "z/1:80"], ["a/1:80", "z/1:80"], 1) == {}, "less room than before cuts nobody"


def test_a_namespace_takes_no_more_than_it_leaves_free():
    found = left_out([*many("greedy", 9), "modest/1:80"], (), 6)
    assert len(found) == 6
    assert set(found.values()) == {
        "budget of listeners: namespace greedy has 3, wants 1 more, and may have 3: no more than it leaves free"
    }


def test_two_namespaces_leave_room_for_a_third():
    held = many("one", 3000)
    left = left_out(many("two", 9000), held, PORTS)
    held += [name for name in many("two", 9000) if name not in left]
    assert len(held) == 3000 + 3500
    assert left_out(many("three", 1000), held, PORTS) == {}


def test_listeners_that_linger_count():
    assert left_out(["a/2:80"], ["a/1:80"], 4) == {}
    assert left_out(["a/2:80"], ["a/1:80", "a/0:80"], 4).keys() == {"a/2:80"}
