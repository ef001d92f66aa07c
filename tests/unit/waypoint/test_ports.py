"""Ports: one listener, one port, for as long as it is wanted."""

from agent.datapath.allocate import QUARANTINE_SECONDS
from agent.waypoint.ports import FIRST_PORT, LAST_PORT, Ports


def test_a_listener_keeps_its_port():
    ports = Ports({}, (), now=0)
    first = ports.assign("a", now=0)
    assert ports.assign("b", now=0) != first
    assert ports.assign("a", now=0) == first == FIRST_PORT


def test_a_released_port_rests():
    ports = Ports({}, (), now=0)
    first = ports.assign("a", now=0)
    ports.release("a", now=0)
    assert ports.assign("b", now=0) != first
    assert ports.assign("c", now=QUARANTINE_SECONDS) == first
    ports.release("unknown", now=0)


def test_ports_are_read_back_and_strangers_are_left_alone():
    ports = Ports({"a": FIRST_PORT + 5}, {FIRST_PORT}, now=0)
    assert ports.assign("a", now=0) == FIRST_PORT + 5
    assert ports.assign("b", now=QUARANTINE_SECONDS) == FIRST_PORT + 1


def test_two_listeners_never_adopt_one_port():
    ports = Ports({"a": FIRST_PORT, "b": FIRST_PORT, "c": 80, "d": LAST_PORT + 1}, (), now=0)
    assert ports.by_listener == {"a": FIRST_PORT}
