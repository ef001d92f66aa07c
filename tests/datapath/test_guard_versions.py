"""The guard of waypoints when its programs are replaced or removed, in a real network namespace."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel.features import SK_LOOKUP
from agent.kernel.links import detach
from agent.kernel.loader import prepare
from agent.kernel.network_links import UNSUPPORTED
from agent.kernel.programs import GUARD, SOURCES, Pins
from support.datapath.guarded_waypoint import CLIENT, PORT, UNKNOWN_CLIENT, WAYPOINT, GuardSetup, Waypoint
from support.datapath.node import load

pytestmark = [pytest.mark.bpf, pytest.mark.compiles]


@pytest.fixture
def setup(loaded: tuple[Path, Path]) -> Iterator[GuardSetup]:
    """With a server at the waypoint."""
    pins, kubepods = loaded
    made = GuardSetup(pins, kubepods, prepare(pins, kubepods).version, Waypoint(kubepods / "pod1"))
    try:
        with made.waypoint.socket("4") as server:
            server.bind((WAYPOINT["4"], PORT))
            server.listen()
            yield made
    finally:
        made.close()


def test_another_version_takes_its_place(setup: GuardSetup, tmp_path: Path) -> None:
    setup.look()
    shutil.copytree(SOURCES, tmp_path / "bpf")
    text = (tmp_path / "bpf/weft.c").read_text()
    (tmp_path / "bpf/weft.c").write_text(text.replace("return SK_DROP;", "return SK_PASS;"))
    setup.guards.permit(prepare(setup.pins, setup.kubepods, tmp_path / "bpf").version)
    assert setup.waypoint.dial(CLIENT) == "connected"
    setup.guards.permit(setup.version)
    assert setup.waypoint.dial(CLIENT) == "ECONNREFUSED"


def test_nothing_of_it_is_left_by_detach(setup: GuardSetup) -> None:
    setup.look()
    detach(setup.pins)
    setup.until_open(UNKNOWN_CLIENT)
    load(setup.pins, setup.kubepods)


def test_a_kernel_without_the_hook_does_without(setup: GuardSetup) -> None:
    version = prepare(setup.pins, setup.kubepods, without=frozenset([SK_LOOKUP])).version
    assert not (Pins(setup.pins).programs / version / GUARD.name).exists()
    load(setup.pins, setup.kubepods, without=frozenset([SK_LOOKUP]))
    setup.guards.permit(version)
    assert setup.look() == UNSUPPORTED
