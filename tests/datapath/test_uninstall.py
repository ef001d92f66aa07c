"""Uninstalling leaves nothing: no link, program or map in the kernel, no folder on the node."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.kernel import abi, bpffs
from agent.kernel.links import list_links
from agent.kernel.programs import PROGRAMS
from agent.settings import HEALTH_SOCKET, NETNS_SOCKET, NODES, PARAMETERS_FILE, REQUESTS_FILE, STATUS_SOCKET, XDS_SOCKET
from agent.telemetry.http import HttpServer, Response
from support.datapath.node import CGROUPS, Node, load

pytestmark = pytest.mark.bpf

PATIENCE = 20.0
# As the pod that uninstalls runs: root, and nothing that makes root special.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
PATCH = yaml.safe_load((Path(__file__).parents[2] / "daemonset/uninstall.yaml").read_text())
(CONTAINER,) = PATCH["spec"]["template"]["spec"]["containers"]
HOST_STATE, HOST_PINS = "/host/run/weft", "/host/bpf/weft"


@dataclass(frozen=True)
class Installation:
    """Where one agent has run: as in Kubernetes, with its pins in the node's own bpffs."""

    cgroup: Path
    state: Path
    pins: Path

    def uninstall(self, *run_by: str) -> subprocess.CompletedProcess[str]:
        """As the pods do that daemonset/uninstall.yaml makes of agents."""
        (line,) = CONTAINER["args"]
        return self._shell(line.replace("exec sleep infinity", "true"), run_by)

    def clean(self) -> bool:
        """What the pod's readiness says."""
        *_, line = CONTAINER["readinessProbe"]["exec"]["command"]
        return self._shell(line).returncode == 0

    def _shell(self, line: str, run_by: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        weft = f"{sys.executable} -m agent"
        for there, here in ((HOST_STATE, self.state), (HOST_PINS, self.pins), ("/opt/weft/bin/weft", weft)):
            line = line.replace(there, str(here))
        return subprocess.run([*run_by, "sh", "-c", line], capture_output=True, text=True, check=False)

    def attached(self) -> list[dict[str, Any]]:
        return bpftool("cgroup", "show", str(self.cgroup))


def bpftool(*arguments: str) -> list[dict[str, Any]]:
    found = subprocess.run(["bpftool", "--json", *arguments], capture_output=True, text=True, check=True).stdout
    listed: list[dict[str, Any]] = json.loads(found.strip() or "[]")
    return listed


def used(pins: Path) -> dict[str, set[object]]:
    """Ids of the programs that are attached by the links in a folder, and of their maps."""
    programs = {link.program_id for link in list_links(pins)}
    known = [program for program in bpftool("prog", "list") if program["id"] in programs]
    return {"prog": set(programs), "map": {number for program in known for number in program["map_ids"]}}


def gone(found: dict[str, set[object]]) -> bool:
    """Whether the kernel has none of these any more; it frees them a moment after their last user."""
    return not any(item["id"] in found[what] for what in found for item in bpftool(what, "list"))


@pytest.fixture
def installation(node: Node) -> Iterator[Installation]:
    """What a killed agent leaves: attached programs, sockets, the files of waypoints."""
    run = Path("/run", node.name)
    made = Installation(CGROUPS / node.name / "uninstalled", run / "state", node.pins / "uninstalled")
    made.cgroup.mkdir()
    made.pins.mkdir()
    (made.state / XDS_SOCKET).parent.mkdir(parents=True)
    (made.state / "bpf").mkdir()  # where a container sees the pins
    for name in (STATUS_SOCKET, HEALTH_SOCKET, NETNS_SOCKET, XDS_SOCKET):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(made.state / name))
    for name in (PARAMETERS_FILE, REQUESTS_FILE):
        (made.state / name).touch()
        (made.state / f".{name}.new").touch()
    (made.state / NODES).mkdir()
    (made.state / NODES / "n1.json").write_text("{}")
    (made.state / XDS_SOCKET).with_name("weft-waypoint-x.json").write_text("{}")
    yield made
    made.uninstall()
    made.cgroup.rmdir()


@pytest.mark.compiles
def test_nothing_is_left(installation: Installation) -> None:
    load(installation.pins, installation.cgroup)
    found = used(installation.pins)
    assert installation.attached()
    assert not installation.clean()
    # These are read only by the programs of network namespaces.
    enforced = {"weft_servers", "weft_peers", "weft_grants"}
    audited = {"weft_audited", "weft_audited_grants", "weft_verdicts"}
    elsewhere = {"weft_clients"} | enforced | audited
    assert (len(found["prog"]), len(found["map"])) == (len(PROGRAMS), len(abi.LAYOUTS.keys() - elsewhere))
    done = installation.uninstall(*POWERLESS)
    assert (done.returncode, done.stderr) == (0, "")
    assert installation.attached() == []
    assert not installation.state.exists()
    assert not installation.pins.exists()
    assert installation.clean()
    end = time.monotonic() + PATIENCE
    while not gone(found):
        assert time.monotonic() < end, found
    assert installation.uninstall().returncode == 0


@pytest.mark.compiles
def test_a_bpffs_of_weft_s_own_is_unmounted(installation: Installation) -> None:
    own = Installation(installation.cgroup, installation.state, installation.state / "bpf")
    bpffs.mount(own.pins)
    load(own.pins, own.cgroup)
    done = own.uninstall()
    assert (done.returncode, done.stderr) == (0, "")
    assert own.attached() == []
    assert not own.state.exists()


def test_what_is_not_weft_s_stays_and_is_named(installation: Installation) -> None:
    (installation.state / "mine").write_text("")
    done = installation.uninstall()
    assert done.returncode == 1
    assert f"not everything could be removed: [Errno 39] Directory not empty: '{installation.state}'" in done.stderr
    assert [entry.name for entry in installation.state.iterdir()] == ["mine"]
    (installation.state / "mine").unlink()


@pytest.mark.compiles
async def test_while_an_agent_answers_nothing_is_removed(installation: Installation) -> None:
    load(installation.pins, installation.cgroup)
    attached = installation.attached()
    path = installation.state / STATUS_SOCKET
    agent = HttpServer({"/status": lambda _: Response.text("{}")})
    await agent.start_unix(path)
    done = await asyncio.to_thread(installation.uninstall)
    await agent.stop()
    assert (done.returncode, installation.attached()) == (1, attached)
    assert f"an agent answers at {path}" in done.stderr
