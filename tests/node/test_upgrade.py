"""Another version of weft, whose tables have another layout, takes over and gives back; nothing is lost meanwhile."""

import re
import shutil
from pathlib import Path

import pytest
from l4_mesh import all_in_l4, load, serve
from lab_handle import LabFactory, LabHandle

from agent.kernel.links import list_links
from agent.kernel.programs import PROGRAMS, SOURCES

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
    for name in ("agent", "bpf"):
        shutil.copytree(SOURCES.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, name in (("bpf/abi.h", r"#define WEFT_SLOTS\s+"), ("agent/kernel/abi.py", "SLOTS = ")):
        text, times = re.subn(f"^({name})262144$", r"\g<1>263144", (tmp_path / path).read_text(), flags=re.MULTILINE)
        assert times == 1
        (tmp_path / path).write_text(text)
    return tmp_path


def test_upgrade_and_downgrade_under_load_lose_nothing(mesh: LabHandle, other: Path) -> None:
    """The load's kept sockets were made by one version and are shown their Service by the other."""
    pins = mesh.paths.bpf
    seen, programs = [], []
    with load(mesh, CLIENTS) as counted:
        for version in (other, SOURCES.parent, other, SOURCES.parent):
            mesh.agent_stop(kill=True)
            mesh.agent_start(version)
            (layout,) = [path.parent.name for path in pins.glob("*/maps")]
            seen.append((layout, mesh.status()["fill"]["slots"]["capacity"]))
            programs.append([link.program_id for link in list_links(pins)])
            assert len(programs[-1]) == len(PROGRAMS)
    assert [capacity for _, capacity in seen] == [263144, 262144, 263144, 262144]
    assert len({layout for layout, _ in seen}) == 2
    assert not set(programs[0]) & set(programs[1])
    assert counted["ended"] == 0
