"""The guard of waypoints, in a real network namespace that it finds through a real cgroup."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel import guards
from agent.kernel.guards import NOT_FOUND, Guards
from agent.kernel.network_links import ATTACHED, NetworkLinks
from agent.kernel.programs import GUARD, Pins
from support.datapath.guarded_waypoint import CLIENT, PORT, UNKNOWN_CLIENT, WAYPOINT, GuardSetup, Waypoint
from support.datapath.node import Node

pytestmark = pytest.mark.bpf

MAX_PROGRAMS = 64  # NETNS_BPF_MAX_PROGS of the kernel: of one hook in one network namespace


@pytest.fixture
def setup(node: Node) -> Iterator[GuardSetup]:
    made = GuardSetup(node.pins, node.kubepods, node.version, Waypoint(node.kubepods / "pod1"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=["4", "6"])
def listening(setup: GuardSetup, request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket]]:
    """A server at the waypoint, in one family."""
    with setup.waypoint.socket(request.param) as server:
        server.bind((WAYPOINT[request.param], PORT))
        server.listen()
        yield request.param, server


def test_only_who_is_on_the_list_connects(setup: GuardSetup, listening: tuple[str, socket.socket]) -> None:
    family, server = listening
    assert setup.waypoint.dial(UNKNOWN_CLIENT, family) == "connected"
    server.accept()[0].close()
    setup.allow_clients(CLIENT[family])
    assert setup.look() == ATTACHED
    assert setup.waypoint.dial(CLIENT, family) == "connected"
    server.accept()[0].close()
    before = setup.refusals()
    assert [setup.waypoint.dial(UNKNOWN_CLIENT, family) for _ in range(3)] == ["ECONNREFUSED"] * 3
    assert setup.refusals() == before + 3
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_who_leaves_the_list_keeps_what_is_established(setup: GuardSetup, listening: tuple[str, socket.socket]) -> None:
    family, server = listening
    setup.allow_clients(CLIENT[family])
    setup.look()
    with setup.waypoint.socket(family) as client:
        client.bind((CLIENT[family], 0))
        client.connect((WAYPOINT[family], PORT))
        accepted, _ = server.accept()
        setup.allow_clients()
        client.sendall(b"still here")
        assert accepted.recv(64) == b"still here"
        accepted.close()
    assert setup.waypoint.dial(CLIENT, family) == "ECONNREFUSED"


@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_a_datagram_of_a_stranger_is_lost(setup: GuardSetup, listening: tuple[str, socket.socket]) -> None:
    setup.allow_clients(CLIENT["4"])
    setup.look()
    with setup.waypoint.socket("4", socket.SOCK_DGRAM) as server:
        server.bind((WAYPOINT["4"], PORT))
        for source in (UNKNOWN_CLIENT, CLIENT):
            with setup.waypoint.socket("4", socket.SOCK_DGRAM) as client:
                client.bind((source["4"], 0))
                client.sendto(source["4"].encode(), (WAYPOINT["4"], PORT))
        assert server.recv(64) == CLIENT["4"].encode()


@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_it_outlives_the_agent_and_one_that_was_removed_is_attached_again(
    setup: GuardSetup, listening: tuple[str, socket.socket]
) -> None:
    setup.look()
    (pin,) = setup.pinned()
    later = Guards(setup.pins, setup.kubepods, setup.helpers.client(), dict, setup.drifts.append)
    assert setup.waypoint.dial(CLIENT) == "ECONNREFUSED", "while no agent looks"
    later.permit(setup.version)
    later.look({WAYPOINT["4"]: setup.waypoint.pods()})
    assert (setup.pinned(), setup.drifts) == ([pin], [])
    (Pins(setup.pins).guards / pin).unlink()
    setup.until_open(CLIENT)
    assert setup.look() == ATTACHED
    assert (setup.pinned(), setup.drifts) == ([pin], [1])
    assert setup.waypoint.dial(CLIENT) == "ECONNREFUSED"


def test_a_waypoint_with_an_address_of_each_family_is_guarded_once(setup: GuardSetup) -> None:
    both = dict.fromkeys(WAYPOINT.values(), setup.waypoint.pods(WAYPOINT["6"]))
    setup.guards.look(both)
    assert (setup.guards.states, len(setup.pinned())) == (dict.fromkeys(both, ATTACHED), 1)
    (Pins(setup.pins).guards / setup.pinned()[0]).unlink()
    setup.guards.look(both)
    assert (setup.guards.states, len(setup.pinned()), setup.drifts) == (dict.fromkeys(both, ATTACHED), 1, [1])


def test_a_namespace_that_is_gone_leaves_no_pin_and_its_successor_is_guarded(setup: GuardSetup) -> None:
    assert setup.look() == ATTACHED
    (pin,) = setup.pin_files()
    setup.waypoint.end()
    setup.waypoint = Waypoint(setup.kubepods / "pod1")
    setup.until_gone(pin)
    assert (setup.look(), len(setup.pinned()), setup.drifts) == (ATTACHED, 1, [])
    (pin,) = setup.pin_files()
    setup.waypoint.end()
    setup.waypoint = Waypoint(setup.kubepods / "pod2")
    setup.until_gone(pin, "10.9.0.99")
    assert (setup.look("10.9.0.99"), setup.pinned()) == (NOT_FOUND, [])


def test_neither_the_node_nor_whoever_has_not_the_address_is_guarded(setup: GuardSetup) -> None:
    setup.guards.look({WAYPOINT["4"]: {}})
    assert setup.guards.states == {WAYPOINT["4"]: NOT_FOUND}
    on_the_node = setup.new_guards(str(setup.waypoint.process.pid))
    on_the_node.look({WAYPOINT["4"]: setup.waypoint.pods()})
    assert on_the_node.states == {WAYPOINT["4"]: NOT_FOUND}
    unseen = setup.new_guards("nobody")
    unseen.look({WAYPOINT["4"]: {}})
    assert unseen.states == {WAYPOINT["4"]: NOT_FOUND}, "no pod is left that could be on an unknown network"
    unseen.look({WAYPOINT["4"]: setup.waypoint.pods()})
    assert unseen.states == {WAYPOINT["4"]: guards.UNSEEN}
    assert setup.pinned() == []
    everything = [address for both in (WAYPOINT, CLIENT, UNKNOWN_CLIENT) for address in both.values()]
    unseen.look({WAYPOINT["4"]: setup.waypoint.pods(*everything)})
    assert unseen.states == {WAYPOINT["4"]: ATTACHED}


@pytest.fixture
def full(setup: GuardSetup) -> Iterator[GuardSetup]:
    """The waypoint's network namespace has no room for another program."""
    aside = setup.pins / "aside"
    with Path(f"/proc/{setup.waypoint.process.pid}/ns/net").open() as namespace:
        for number in range(MAX_PROGRAMS):
            NetworkLinks(aside, Pins(setup.pins).programs / setup.version / GUARD.name).attach(
                namespace.fileno(), str(number)
            )
    yield setup
    shutil.rmtree(aside)


def test_an_error_at_one_waypoint_leaves_the_state_of_another_current(full: GuardSetup) -> None:
    other = Waypoint(full.kubepods / "pod2")
    full.guards.look({WAYPOINT["6"]: other.pods()})
    assert full.guards.states == {WAYPOINT["6"]: ATTACHED}
    other.end()
    full.guards.look({WAYPOINT["4"]: full.waypoint.pods(), WAYPOINT["6"]: {}})
    assert full.guards.states[WAYPOINT["6"]] == NOT_FOUND
    assert full.guards.states[WAYPOINT["4"]].startswith("not attached, trying again: [Errno 7] ")


def test_guards_that_cannot_be_read_have_an_unknown_state(setup: GuardSetup) -> None:
    assert setup.look() == ATTACHED
    foreign = Pins(setup.pins).guards / "foreign"
    foreign.mkdir()
    try:
        with pytest.raises(OSError, match="bpf_obj_get") as caught:
            setup.look()
    finally:
        foreign.rmdir()
    assert setup.guards.states == {WAYPOINT["4"]: f"unknown: the guards cannot be read: {caught.value}"}
    assert setup.look() == ATTACHED
