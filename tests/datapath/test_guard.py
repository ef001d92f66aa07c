"""The guard of waypoints, in a real network namespace that it finds through a real cgroup."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from datapath_node import CGROUPS, Node, load
from guarded_waypoint import CLIENT, PORT, STRANGER, WAYPOINT, Place, Waypoint

from agent.kernel import guards
from agent.kernel.features import SK_LOOKUP
from agent.kernel.guards import ATTACHED, NOT_FOUND, Guards
from agent.kernel.links import detach
from agent.kernel.loader import prepare
from agent.kernel.programs import GUARD, SOURCES, Pins
from agent.lab import cgroups

pytestmark = pytest.mark.bpf

MAX_PROGRAMS = 64  # NETNS_BPF_MAX_PROGS of the kernel: of one hook in one network namespace


@pytest.fixture(scope="module")
def loaded(node: Node) -> Iterator[tuple[Path, Path]]:
    """Pins and the cgroup where the programs run."""
    pins, kubepods = node.pins / "guard", CGROUPS / node.name / "guard"
    pins.mkdir()
    kubepods.mkdir()
    load(pins, kubepods)
    yield pins, kubepods
    detach(pins)
    pins.rmdir()
    cgroups.remove(kubepods)


@pytest.fixture
def place(loaded: tuple[Path, Path]) -> Iterator[Place]:
    pins, kubepods = loaded
    made = Place(pins, kubepods, prepare(pins, kubepods).version, Waypoint(kubepods / "pod1"))
    try:
        yield made
    finally:
        made.admit()
        made.kernel.close()
        made.waypoint.end()
        for link in Pins(pins).guards.glob("*"):
            link.unlink()


@pytest.fixture(params=["4", "6"])
def listening(place: Place, request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket]]:
    """A server at the waypoint, in one family."""
    with place.waypoint.socket(request.param) as server:
        server.bind((WAYPOINT[request.param], PORT))
        server.listen()
        yield request.param, server


def test_only_who_is_on_the_list_connects(place: Place, listening: tuple[str, socket.socket]) -> None:
    family, server = listening
    assert place.waypoint.dial(STRANGER, family) == "connected"
    server.accept()[0].close()
    place.admit(CLIENT[family])
    assert place.look() == ATTACHED
    assert place.waypoint.dial(CLIENT, family) == "connected"
    server.accept()[0].close()
    before = place.refusals()
    assert [place.waypoint.dial(STRANGER, family) for _ in range(3)] == ["ECONNREFUSED"] * 3
    assert place.refusals() == before + 3
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_who_leaves_the_list_keeps_what_is_established(place: Place, listening: tuple[str, socket.socket]) -> None:
    family, server = listening
    place.admit(CLIENT[family])
    place.look()
    with place.waypoint.socket(family) as client:
        client.bind((CLIENT[family], 0))
        client.connect((WAYPOINT[family], PORT))
        accepted, _ = server.accept()
        place.admit()
        client.sendall(b"still here")
        assert accepted.recv(64) == b"still here"
        accepted.close()
    assert place.waypoint.dial(CLIENT, family) == "ECONNREFUSED"


@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_a_datagram_of_a_stranger_is_lost(place: Place, listening: tuple[str, socket.socket]) -> None:
    place.admit(CLIENT["4"])
    place.look()
    with place.waypoint.socket("4", socket.SOCK_DGRAM) as server:
        server.bind((WAYPOINT["4"], PORT))
        for source in (STRANGER, CLIENT):
            with place.waypoint.socket("4", socket.SOCK_DGRAM) as client:
                client.bind((source["4"], 0))
                client.sendto(source["4"].encode(), (WAYPOINT["4"], PORT))
        assert server.recv(64) == CLIENT["4"].encode()


@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_it_outlives_the_agent_and_one_that_was_removed_is_attached_again(
    place: Place, listening: tuple[str, socket.socket]
) -> None:
    place.look()
    (pin,) = place.pinned()
    later = Guards(place.pins, place.kubepods, dict, place.drifts.append, "self")
    assert place.waypoint.dial(CLIENT) == "ECONNREFUSED", "while no agent looks"
    later.permit(place.version)
    later.look({WAYPOINT["4"]: place.waypoint.pods()})
    assert (place.pinned(), place.drifts) == ([pin], [])
    (Pins(place.pins).guards / pin).unlink()
    place.until_open(CLIENT)
    assert place.look() == ATTACHED
    assert (place.pinned(), place.drifts) == ([pin], [1])
    assert place.waypoint.dial(CLIENT) == "ECONNREFUSED"


def test_a_waypoint_with_an_address_of_each_family_is_guarded_once(place: Place) -> None:
    both = dict.fromkeys(WAYPOINT.values(), place.waypoint.pods(WAYPOINT["6"]))
    place.guards.look(both)
    assert (place.guards.states, len(place.pinned())) == (dict.fromkeys(both, ATTACHED), 1)
    (Pins(place.pins).guards / place.pinned()[0]).unlink()
    place.guards.look(both)
    assert (place.guards.states, len(place.pinned()), place.drifts) == (dict.fromkeys(both, ATTACHED), 1, [1])


@pytest.mark.compiles
@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_another_version_takes_its_place(place: Place, listening: tuple[str, socket.socket], tmp_path: Path) -> None:
    place.look()
    shutil.copytree(SOURCES, tmp_path / "bpf")
    text = (tmp_path / "bpf/weft.c").read_text()
    (tmp_path / "bpf/weft.c").write_text(text.replace("return SK_DROP;", "return SK_PASS;"))
    place.guards.permit(prepare(place.pins, place.kubepods, tmp_path / "bpf").version)
    assert place.waypoint.dial(CLIENT) == "connected"
    place.guards.permit(place.version)
    assert place.waypoint.dial(CLIENT) == "ECONNREFUSED"


@pytest.mark.compiles
@pytest.mark.parametrize("listening", ["4"], indirect=True)
def test_nothing_of_it_is_left_by_detach(place: Place, listening: tuple[str, socket.socket]) -> None:
    place.look()
    detach(place.pins)
    place.until_open(STRANGER)
    load(place.pins, place.kubepods)


def test_a_namespace_that_is_gone_leaves_no_pin_and_its_successor_is_guarded(place: Place) -> None:
    assert place.look() == ATTACHED
    (pin,) = place.pinned()
    place.waypoint.end()
    place.waypoint = Waypoint(place.kubepods / "pod1")
    place.until_gone(pin)
    assert (place.look(), len(place.pinned()), place.drifts) == (ATTACHED, 1, [])
    (pin,) = place.pinned()
    place.waypoint.end()
    place.waypoint = Waypoint(place.kubepods / "pod2")
    place.until_gone(pin, "10.9.0.99")
    assert (place.look("10.9.0.99"), place.pinned()) == (NOT_FOUND, [])


def test_neither_the_node_nor_whoever_has_not_the_address_is_guarded(place: Place) -> None:
    place.guards.look({WAYPOINT["4"]: {}})
    assert place.guards.states == {WAYPOINT["4"]: NOT_FOUND}
    on_the_node = Guards(place.pins, place.kubepods, dict, place.drifts.append, str(place.waypoint.process.pid))
    on_the_node.permit(place.version)
    on_the_node.look({WAYPOINT["4"]: place.waypoint.pods()})
    assert on_the_node.states == {WAYPOINT["4"]: NOT_FOUND}
    unseen = Guards(place.pins, place.kubepods, dict, place.drifts.append, "nobody")
    unseen.permit(place.version)
    unseen.look({WAYPOINT["4"]: {}})
    assert unseen.states == {WAYPOINT["4"]: NOT_FOUND}, "no pod is left that could be on an unknown network"
    unseen.look({WAYPOINT["4"]: place.waypoint.pods()})
    assert unseen.states == {WAYPOINT["4"]: guards.UNSEEN}
    assert place.pinned() == []
    everything = [address for both in (WAYPOINT, CLIENT, STRANGER) for address in both.values()]
    unseen.look({WAYPOINT["4"]: place.waypoint.pods(*everything)})
    assert unseen.states == {WAYPOINT["4"]: ATTACHED}


@pytest.fixture
def full(place: Place) -> Iterator[Place]:
    """The waypoint's network namespace has no room for another program."""
    aside = place.pins / "aside"
    aside.mkdir()
    with Path(f"/proc/{place.waypoint.process.pid}/ns/net").open() as namespace:
        for number in range(MAX_PROGRAMS):
            guards.attach(place.pins, place.version, namespace.fileno())
            (pin,) = Pins(place.pins).guards.iterdir()
            pin.rename(aside / str(number))
    yield place
    shutil.rmtree(aside)


def test_an_error_at_one_waypoint_leaves_the_state_of_another_current(full: Place) -> None:
    other = Waypoint(full.kubepods / "pod2")
    full.guards.look({WAYPOINT["6"]: other.pods()})
    assert full.guards.states == {WAYPOINT["6"]: ATTACHED}
    other.end()
    full.guards.look({WAYPOINT["4"]: full.waypoint.pods(), WAYPOINT["6"]: {}})
    assert full.guards.states[WAYPOINT["6"]] == NOT_FOUND
    assert full.guards.states[WAYPOINT["4"]].startswith("not attached, trying again: [Errno 7] ")


def test_guards_that_cannot_be_read_have_an_unknown_state(place: Place) -> None:
    assert place.look() == ATTACHED
    foreign = Pins(place.pins).guards / "foreign"
    foreign.mkdir()
    try:
        with pytest.raises(OSError, match="bpf_obj_get") as caught:
            place.look()
    finally:
        foreign.rmdir()
    assert place.guards.states == {WAYPOINT["4"]: f"unknown: the guards cannot be read: {caught.value}"}
    assert place.look() == ATTACHED


@pytest.mark.compiles
def test_a_kernel_without_the_hook_does_without(place: Place) -> None:
    version = prepare(place.pins, place.kubepods, without=frozenset([SK_LOOKUP])).version
    assert not (Pins(place.pins).programs / version / GUARD.name).exists()
    load(place.pins, place.kubepods, without=frozenset([SK_LOOKUP]))
    place.guards.permit(version)
    assert place.look() == guards.UNSUPPORTED
