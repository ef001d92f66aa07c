"""What Envoy refuses is shown by the agent: the resource with the reason, the Routes concerned, and a count by kind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.lab import lifecycle, weft
from agent.model.meta import WEFT_NAMESPACE
from agent.settings import NODES
from agent.waypoint.ports import FIRST_PORT
from support.node.lab_handle import ECHO_TO_V1, LabFactory, LabHandle

pytestmark = pytest.mark.node
LISTENER = "Listener app/echo:80"
WAYPOINT = next(iter(weft.WAYPOINTS))
ADDRESS = weft.WAYPOINTS[WAYPOINT].ipv4
# Listens on the first ports that listeners get, until its standard input ends.
LISTEN = f"""
import socket, sys
made = [socket.create_server(({ADDRESS!r}, port)) for port in range({FIRST_PORT}, {FIRST_PORT} + 10)]
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return make_lab("refused", [Path(__file__).with_name("routes.yaml")], agent=True)


@contextmanager
def taken_ports(mesh: LabHandle) -> Iterator[None]:
    """Somebody has the ports in the waypoint's namespace, so that Envoy cannot listen there."""
    pod = f"{WEFT_NAMESPACE}/{WAYPOINT}"
    command, environment = lifecycle.exec_command(mesh.paths, pod, [sys.executable, "-c", LISTEN])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield


def programmed(status: Any) -> list[dict[str, Any]]:
    """The Route's condition that is this node's own."""
    (route,) = status["routes"]
    return [item for parent in route["parents"] for item in parent["conditions"] if item["type"] == "Programmed"]


def rejected(mesh: LabHandle) -> str:
    """How many listeners are refused, by the metrics."""
    lines = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout.splitlines()
    (found,) = [line for line in lines if line.startswith('weft_xds_rejected{kind="Listener"}')]
    return found.rpartition(" ")[2]


def reported(mesh: LabHandle) -> list[str]:
    """The resources in the WeftNode of the state folder, which is there soon after Envoy has connected."""
    files = [*(mesh.paths.state / NODES).glob("*.json")]
    status = {"rejected": [], "rejectedCount": 0} | (json.loads(files[0].read_bytes())["status"] if files else {})
    assert status["rejectedCount"] == len(status["rejected"])
    return [f"{item['type']} {item['name']}" for item in status["rejected"]]


def test_a_refused_listener_is_shown_until_it_is_not_refused_any_more(mesh: LabHandle) -> None:
    assert (mesh.status()["waypoint"]["rejected"], rejected(mesh)) == ({}, "0.0")
    with taken_ports(mesh):
        mesh.apply(ECHO_TO_V1.read_text())
        mesh.wait_for("it is refused", lambda: LISTENER in mesh.status()["waypoint"]["rejected"])
        assert rejected(mesh) == "1.0"
        (condition,) = programmed(mesh.status())
        assert (condition["status"], condition["reason"]) == ("False", "RejectedByEnvoy")
        assert condition["message"].startswith(f"{LISTENER}: ")
        shown = mesh.node(sys.executable, "-m", "agent", "status", "--state", str(mesh.paths.state), check=False)
        assert (shown.returncode, "cannot bind" in shown.stdout) == (3, True)
        mesh.wait_for("it is reported", lambda: reported(mesh) == [LISTENER])
    mesh.wait_for("it is taken", lambda: not mesh.status()["waypoint"]["rejected"])
    assert (programmed(mesh.status()), rejected(mesh)) == ([], "0.0")
    mesh.wait_for("it is reported no more", lambda: reported(mesh) == [])
