"""After `lab down` the host is as before, whatever was killed in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.lab import cgroups, lifecycle, weft
from agent.lab.paths import NETNS_DIR

pytestmark = pytest.mark.node

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  template:
    metadata: {labels: {app: echo}}
    spec: {containers: [{name: main, image: weft/echo}]}
"""


def host():
    """What the lab could have changed for the host."""
    commands = (
        ["ip", "-4", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"],
        ["ip", "rule"],
        ["ip", "-brief", "address"],
        ["nft", "list", "ruleset"],
    )
    printed = [subprocess.run(command, text=True, capture_output=True, check=True).stdout for command in commands]
    net = Path("/proc/sys/net")
    settings = [net / "ipv4/ip_forward", net / "ipv4/tcp_tw_reuse", *sorted(net.glob("ipv[46]/conf/*/*"))]
    # A secret that was never set cannot be read, not even by root.
    return printed, {str(file): file.read_text() for file in settings if file.name != "stable_secret"}


def traces(paths):
    """What there is of a lab."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if paths.name in line]
    handles = [entry.name for entry in NETNS_DIR.iterdir()] if NETNS_DIR.exists() else []
    mine = [handle for handle in handles if handle.startswith(paths.node_netns)]
    return [*mounts, *mine, *(str(folder) for folder in (paths.state, paths.cgroup) if folder.exists())]


@pytest.fixture
def manifest(tmp_path):
    file = tmp_path / "echo.yaml"
    file.write_text(MANIFEST)
    return file


def test_down_leaves_nothing(make_lab, manifest):
    before = host()
    lab = make_lab("downa", [manifest])
    assert len(traces(lab.paths)) >= 5
    lifecycle.down(lab.paths)
    assert traces(lab.paths) == []
    assert host() == before
    lifecycle.down(lab.paths)


def test_a_killed_daemon_can_be_swept_and_replaced(make_lab, manifest):
    lab = make_lab("downb", [manifest])
    os.kill(int(lab.paths.pidfile("daemon").read_text()), signal.SIGKILL)
    cgroups.wait_empty(lab.paths.system_cgroup("daemon"), 5)
    lifecycle.up(lab.paths, [manifest], agent=False)
    with pytest.raises(lifecycle.LabError, match="already up"):
        lifecycle.up(lab.paths, [manifest], agent=False)
    lifecycle.down(lab.paths)
    assert traces(lab.paths) == []


def test_half_made_state_is_swept(make_lab, manifest):
    lab = make_lab("downc", [manifest])
    cgroups.kill(lab.paths.cgroup)
    subprocess.run(["umount", lab.paths.bpf], check=True)
    # A handle whose maker died before it was bound to a namespace.
    (NETNS_DIR / lab.paths.pod_netns("default", "half-made")).touch()
    lifecycle.down(lab.paths)
    assert traces(lab.paths) == []


def test_up_can_be_killed_half_way(make_lab, manifest):
    lab = make_lab("downe", [manifest])
    lifecycle.down(lab.paths)
    command = [sys.executable, "-m", "agent", "lab", "up", str(manifest), "--no-agent", "--name", lab.paths.name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as up:
        lab.wait_for("up has begun", (NETNS_DIR / lab.paths.node_netns).exists)
        up.kill()
    lifecycle.down(lab.paths)
    assert traces(lab.paths) == []


def test_the_agent_outlives_the_daemon_and_ends_when_told(make_lab, manifest, monkeypatch):
    monkeypatch.setattr(weft, "agent_command", lambda paths: ["sleep", "infinity"])
    monkeypatch.setattr(weft, "waypoint_command", lambda paths, name: ["sleep", "infinity"])
    lab = make_lab("downd", [manifest])
    lifecycle.start_agent(lab.paths)
    with pytest.raises(lifecycle.LabError, match="running"):
        lifecycle.start_agent(lab.paths)
    os.kill(int(lab.paths.pidfile("daemon").read_text()), signal.SIGKILL)
    cgroups.wait_empty(lab.paths.system_cgroup("daemon"), 5)
    assert lab.agent_runs()
    lab.agent_stop(kill=True)
    assert not lab.agent_runs()
    lifecycle.start_agent(lab.paths)
    lab.agent_stop()
    assert not lab.agent_runs()
    lifecycle.down(lab.paths)
