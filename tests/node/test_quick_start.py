"""A lab by weft's commands, from `weft lab up` to `weft uninstall`: L4, L7, a namespace's mode, a killed agent.

Virtual machines run this file with other kernels too (vm-tests/jobs.toml).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.lab import lifecycle, weft
from agent.lab.paths import LabPaths
from support.bpftool import bpftool
from support.node.lab_handle import FACES, LabHandle
from support.node.moves import at_the_waypoint, set_mode
from support.node.programs import PROGRAMS

pytestmark = pytest.mark.node

CLIENT, NAMESPACE, URL = "faces/face", "faces", "http://smiley.faces/"
STEPS = FACES / "steps"
CANARY = ("-H", "x-canary: yes")
TIMES = 200


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """What a command of weft did."""
    return subprocess.run([sys.executable, "-m", "agent", *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mesh(no_stale_labs: None) -> Iterator[LabHandle]:
    """The faces example with its Routes, in no mode."""
    found = LabHandle(f"t{os.getpid()}quick")
    name = ("--name", found.paths.name)
    try:
        done = command("lab", "up", *name, str(FACES))
        assert done.returncode == 0, done.stderr
        lifecycle.apply(found.paths, [STEPS / "1-l4-canary.yaml", STEPS / "2-l7-canary.yaml"])
        yield found
    finally:
        done = command("lab", "down", *name)
        assert done.returncode == 0, done.stderr
        assert not found.paths.state.exists()
        assert not found.paths.cgroup.exists()


def pods(mesh: LabHandle) -> dict[str, int]:
    """Restarts of the example's pods, by their uids."""
    found = [pod for key, pod in mesh.store.load().items() if key.kind == "Pod" and key.namespace != "weft-system"]
    return {pod["metadata"]["uid"]: pod["status"]["restarts"] for pod in found}


def answers(mesh: LabHandle) -> Counter[str]:
    """Which version answered how often, each time on a TCP connection of its own."""
    ask = [sys.executable, str(FACES / "ask.py"), "smiley.faces", "9090", str(TIMES)]
    return Counter(json.loads(mesh.exec(CLIENT, *ask).stdout))


def version(answer: Any) -> str:
    """`smiley-v1`, of the pod that answered."""
    return str(answer["pod"]).rsplit("-", 2)[0]


def peer(answer: Any) -> str:
    """Who asked, as the server saw it."""
    return str(answer["peer"]).rpartition(":")[0]


def by_the_kernel(mesh: LabHandle) -> None:
    """Nine connections of ten go to v1, as the TCPRoute says; HTTPRoutes have no effect."""
    counted = answers(mesh)
    assert counted.keys() == {"smiley-v1", "smiley-v2"}
    assert 157 <= counted["smiley-v1"] <= 197  # 200 at 90 %: two-sided bounds at 1e-6
    assert mesh.curl(CLIENT, f"{URL}old/page")["path"] == "/old/page"


def by_the_waypoint(mesh: LabHandle) -> None:
    """The HTTPRoute decides, and the server sees the waypoint."""
    plain, canary = mesh.curl(CLIENT, URL), mesh.curl(CLIENT, URL, *CANARY)
    assert (version(plain), version(canary)) == ("smiley-v1", "smiley-v2")
    assert {peer(plain), peer(canary)} == {mesh.waypoints["weft-waypoint"]}
    assert mesh.curl(CLIENT, f"{URL}v2/happy")["path"] == "/happy"


def by_the_cluster(mesh: LabHandle) -> None:
    """No Route has an effect: both versions get about half of the connections."""
    counted = answers(mesh)
    assert counted.keys() == {"smiley-v1", "smiley-v2"}
    assert 66 <= counted["smiley-v1"] <= 134  # 200 at 50 %: two-sided bounds at 1e-6
    assert mesh.curl(CLIENT, f"{URL}v2/happy")["path"] == "/v2/happy"


def test_a_namespace_changes_its_mode_and_no_pod_restarts(mesh: LabHandle) -> None:
    before = pods(mesh)
    for _ in range(2):
        set_mode(mesh, "l4", NAMESPACE)
        by_the_kernel(mesh)
        at_the_waypoint(mesh, NAMESPACE)
        by_the_waypoint(mesh)
        set_mode(mesh, "none", NAMESPACE)
        by_the_cluster(mesh)
    assert pods(mesh) == before
    assert set(before.values()) == {0}


@contextmanager
def kept_connections(mesh: LabHandle) -> Iterator[subprocess.Popen[str]]:
    """A client with two connections, each of which it uses for every line that it gets."""
    argv = [sys.executable, str(PROGRAMS / "kept.py"), "smiley.faces", "9090"]
    words, environment = lifecycle.exec_command(mesh.paths, CLIENT, argv)
    with subprocess.Popen(
        words, env=environment, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        yield client


def used(client: subprocess.Popen[str]) -> Any:
    """Which pods answered on the two connections."""
    assert client.stdin
    assert client.stdout
    client.stdin.write("\n")
    return json.loads(client.stdout.readline())


def test_the_agent_is_killed_and_connections_live_on(mesh: LabHandle) -> None:
    at_the_waypoint(mesh, NAMESPACE)
    with kept_connections(mesh) as client:
        before = used(client)
        assert len(before) == 2
        assert command("lab", "agent", "kill", "--name", mesh.paths.name).returncode == 0
        assert not mesh.agent_runs()
        assert used(client) == before
        by_the_waypoint(mesh)
        mesh.agent_start()
        assert used(client) == before
        by_the_waypoint(mesh)


def attached(mesh: LabHandle) -> Any:
    """Programs that are attached to the cgroup of the lab's pods."""
    return bpftool("cgroup", "show", mesh.paths.kubepods)


def of_the_lab(paths: LabPaths) -> set[Path]:
    """What the lab itself has in the state directory."""
    return {
        *(paths.pidfile(what) for what in ("daemon", "agent")),
        *(paths.ip_family, paths.store_lock, paths.manifests, paths.logs, paths.state / "pods"),
    }


def test_uninstalling_leaves_nothing_and_weft_can_come_back(mesh: LabHandle) -> None:
    """What is left in the state directory is the lab's own, and the command names that it is not empty."""
    set_mode(mesh, "l4", NAMESPACE)
    before = pods(mesh)
    with kept_connections(mesh) as client:
        open_to = used(client)
        mesh.agent_stop()
        mesh.delete(json.dumps(weft.waypoint_pod(mesh.paths)))
        mesh.wait_ready()
        assert attached(mesh)
        done = command("uninstall", "--state", str(mesh.paths.state))
        assert f"not everything could be removed: [Errno 39] Directory not empty: '{mesh.paths.state}'" in done.stderr
        assert attached(mesh) == []
        assert not mesh.paths.bpf.exists()
        assert {*mesh.paths.state.iterdir()} == of_the_lab(mesh.paths)
        by_the_cluster(mesh)
        assert used(client) == open_to
    mesh.agent_start()
    mesh.wait_ready()
    by_the_kernel(mesh)
    assert pods(mesh) == before
