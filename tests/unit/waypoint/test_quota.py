"""The budget: who has a place keeps it, and no namespace takes the node's room from the others."""

from agent.waypoint.quota import refused, share, tenant


def test_whose_a_listener_is():
    assert tenant("shop/web:80") == "shop"
    assert tenant("shop/web:80@front") == "front"


def test_everything_fits_up_to_the_room():
    names = ["a/1:80", "b/1:80", "c/1:80"]
    assert refused(names, (), 3) == {}
    assert refused(names, (), 2) == {"c/1:80": "the waypoint has room for 2 listeners, and they are taken"}


def test_who_has_a_place_keeps_it():
    assert refused(["a/1:80", "b/1:80", "z/1:80"], ["z/1:80"], 2).keys() == {"b/1:80"}
    assert refused(["a/1:80", "z/1:80"], ["a/1:80", "z/1:80"], 1) == {}, "less room than before cuts nobody"


def test_a_namespace_gets_no_more_than_its_share():
    many = [f"greedy/{number}:80" for number in range(9)]
    found = refused([*many, "modest/1:80"], (), 6)
    assert len(found) == len(many) - share(6)
    assert set(found.values()) == {"namespace greedy has all the 3 waypoint listeners that one may have"}


def test_listeners_that_linger_count():
    assert refused(["a/2:80"], ["a/1:80"], 4) == {}
    assert refused(["a/2:80"], ["a/1:80", "a/0:80"], 4).keys() == {"a/2:80"}
