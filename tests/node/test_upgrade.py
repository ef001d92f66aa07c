"""Another version of weft, whose tables have another layout, takes over and gives back; nothing is lost meanwhile."""

from itertools import pairwise
from pathlib import Path

import pytest

from agent.kernel.links import list_links
from agent.kernel.programs import PROGRAMS, SOURCES
from support.bpftool import map_ids
from support.node.l4_mesh import all_in_l4, load, serve
from support.node.lab_handle import LabFactory, LabHandle
from support.node.sources import with_slots

pytestmark = pytest.mark.node

CLIENTS = ("app/client", "other/client")


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, in mode l4, and the Service `steady`."""
    lab = all_in_l4(make_lab, "upgrade")
    serve(lab)
    return lab


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The same sources with room for 1000 slots more."""
    return with_slots(tmp_path, 263144)


def test_upgrade_and_downgrade_under_load_lose_nothing(mesh: LabHandle, other: Path) -> None:
    """The load's kept sockets were made by one version and are shown their Service by the other. Maps with a row for
    each socket stay; those that the agent fills are made anew.
    """
    pins = mesh.paths.bpf
    seen, programs, tables = [], [], []
    sockets = map_ids(pins / "sockets")
    with load(mesh, CLIENTS) as counted:
        for version in (other, SOURCES.parent, other, SOURCES.parent):
            mesh.agent_stop(kill=True)
            mesh.agent_start(version)
            (layout,) = [path.parent.name for path in pins.glob("*/maps")]
            seen.append((layout, mesh.status()["tables"]["slots"]["capacity"]))
            tables.append(map_ids(pins / layout / "maps"))
            assert map_ids(pins / "sockets") == sockets
            programs.append([link.program_id for link in list_links(pins)])
            assert len(programs[-1]) == len(PROGRAMS)
    assert [capacity for _, capacity in seen] == [263144, 262144, 263144, 262144]
    assert len({layout for layout, _ in seen}) == 2
    assert not set(programs[0]) & set(programs[1])
    assert all(not set(before.values()) & set(after.values()) for before, after in pairwise(tables))
    assert counted["ended"] == 0
