"""What a waypoint's pod runs before it ends, beside a real Envoy: it waits for the last client and nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.lab import lifecycle
from agent.lab.weft import WAYPOINTS, waypoint_pod
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

OLD, NEW = WAYPOINTS
# A request whose body is not complete: its connection ends with the answer.
UPLOAD = r"""
import socket, sys
upload = socket.create_connection(("echo.app", 80), timeout=60)
upload.sendall(b"POST / HTTP/1.1\r\nHost: echo.app\r\nContent-Length: 2\r\n\r\n1")
print("half", flush=True)
sys.stdin.readline()
upload.sendall(b"2")
print(upload.recv(4096).split(b"\r\n")[0].decode(), flush=True)
"""


@pytest.fixture
def mesh(make_lab: LabFactory) -> LabHandle:
    """A Service with an HTTPRoute, and a client in mode l7."""
    folder = Path(__file__)
    made = make_lab("drain", [folder.with_name("routes.yaml")], agent=True)
    made.apply(ROUTE)
    settle(made, lambda status: {item["state"] for item in status["waypoint"]["listeners"]} == {"ready"})
    return made


ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules: [{backendRefs: [{name: echo, port: 8080}]}]
"""


@contextmanager
def upload(mesh: LabHandle) -> Iterator[subprocess.Popen[str]]:
    """A client whose request the waypoint has half of."""
    argv, environment = lifecycle.exec_command(mesh.paths, "app/client", [sys.executable, "-c", UPLOAD])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, env=environment, text=True, **pipes) as client:
        assert client.stdout.readline() == "half\n"
        yield client


def drain(mesh: LabHandle, *options: str) -> subprocess.Popen[str]:
    """The hook of the waypoint that was there first."""
    argv = [sys.executable, "-m", "agent", "drain", "--state", str(mesh.paths.state), "--id", OLD, *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_the_hook_waits_for_the_last_client_and_for_nothing_else(mesh: LabHandle) -> None:
    with upload(mesh) as client:
        with drain(mesh) as alone:
            assert alone.communicate() == ("no other waypoint takes over\n", None)
        mesh.apply(json.dumps(waypoint_pod(mesh.paths, NEW)))
        mesh.wait_for("the other took over", lambda: mesh.status()["waypoint"]["addresses"] == list(WAYPOINTS[NEW])[:1])
        with drain(mesh, "--seconds=3") as bounded:
            assert bounded.communicate() == ("connections: 1\ntimed out\n", None)
        with drain(mesh, "--seconds=60") as hook:
            assert hook.stdout is not None
            assert hook.stdout.readline() == "connections: 1\n"
            assert hook.poll() is None
            assert client.communicate("go on\n") == ("HTTP/1.1 200 OK\n", None)
            assert hook.communicate() == ("connections: 0\ndrained\n", None)
