"""Nobody uses up the waypoint for others by opening connections: who is not on the allow-list holds nothing, and who is
on it and says nothing is closed. There is no NetworkPolicy here.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_handle import ECHO_TO_V1, LabFactory, LabHandle
from test_routes_http import CLIENT, STRANGER, settle
from test_waypoint_neighbours import LAN, OTHER_NODE_S_POD, WAYPOINT, neighbour

from agent.lab import lifecycle

pytestmark = pytest.mark.node

PROGRAMS = Path(__file__).parent / "programs"
OUTSIDE, NOT_ALLOWED, ALLOWED = 20_000, 5_000, 5_000
# As many as one process may have descriptors for, and some more.
PART = 10_000
UNFINISHED = "GET / HTTP/1.1\r\nHost: echo\r\n"


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Service echo goes through the waypoint for pods of app and other."""
    lab = make_lab("ports", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply(ECHO_TO_V1.read_text())
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 1)
    return lab


@contextmanager
def running(command: list[str], environment: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A program that ends with its standard input."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def listener(mesh: LabHandle) -> int:
    """The port of the one listener."""
    (found,) = mesh.status()["waypoint"]["listeners"]
    return int(found["port"])


def echo(mesh: LabHandle) -> str:
    """The Service's address."""
    service = mesh.get("Service", "app", "echo")
    assert service is not None
    return str(service["spec"]["clusterIP"])


@contextmanager
def asked(mesh: LabHandle, pod: str = CLIENT) -> Iterator[dict[str, Any]]:
    """What a pod's requests came to while the body ran; complete when it has run."""
    command = [sys.executable, str(PROGRAMS / "ask.py"), echo(mesh), "80", "20"]
    seen: dict[str, Any] = {}
    with running(*lifecycle.exec_command(mesh.paths, pod, command)) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "asking\n"
        yield seen
        seen |= json.loads(client.communicate("end\n", timeout=60)[0])


def held_from(mesh: LabHandle, netns: str, port: int, count: int, stack: ExitStack) -> list["subprocess.Popen[str]"]:
    """Programs that dial the waypoint from a network namespace and no pod's cgroup; they hold what they get."""
    found = []
    for _ in range(0, count, PART):
        dial = [sys.executable, str(PROGRAMS / "hold.py"), WAYPOINT, str(port), str(min(PART, count))]
        command = lifecycle.node_command(mesh.paths, ["ip", "netns", "exec", netns, *dial])
        found.append(stack.enter_context(running(command)))
    return found


@contextmanager
def probed(mesh: LabHandle) -> Iterator[list[str]]:
    """What the kubelet's probes of the waypoint and of the agent complain of while the body runs."""
    sockets = {"/ready": "waypoint/weft-waypoint-admin.sock", "/healthz": "health.sock", "/readyz": "health.sock"}
    failed: list[str] = []
    rounds, stop = [0], threading.Event()

    def probe() -> None:
        while not stop.wait(0.2):
            for url, path in sockets.items():
                command = [sys.executable, "-BIm", "agent.probe", str(mesh.paths.state / path), url]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                failed.extend([f"{url}: {done.stdout}{done.stderr}"] if done.returncode else [])
            rounds[0] += 1

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield failed
    finally:
        stop.set()
        thread.join()
    assert rounds[0] > 0


def test_who_is_not_allowed_takes_nothing_from_others(mesh: LabHandle) -> None:
    outside, elsewhere = neighbour(mesh, "red", LAN), neighbour(mesh, "far", OTHER_NODE_S_POD)
    port = listener(mesh)
    with asked(mesh) as seen, probed(mesh) as failed, ExitStack() as stack:
        storm = held_from(mesh, outside, port, OUTSIDE, stack) + held_from(mesh, elsewhere, port, NOT_ALLOWED, stack)
        came_to = [line(process) for process in storm]
    print(came_to, seen["asked"], seen["failed"][:5])
    assert (seen["failed"], failed) == ([], [])
    assert seen["asked"] > 0
    assert came_to == [{"held": 0, "ECONNREFUSED": PART}] * 2 + [{"held": 0, "ECONNREFUSED": NOT_ALLOWED}]


@pytest.mark.parametrize("said", ["", UNFINISHED], ids=["nothing", "half a head"])
def test_who_is_allowed_and_does_not_ask_is_closed(mesh: LabHandle, said: str) -> None:
    command = [sys.executable, str(PROGRAMS / "hold.py"), echo(mesh), "80", str(ALLOWED), said]
    with running(*lifecycle.exec_command(mesh.paths, STRANGER, command)) as pod:
        assert line(pod)["held"] > 4000, "room for connections is used up"

        def others_are_served() -> bool:
            asking = mesh.exec(
                CLIENT, "curl", "-sS", "-m", "2", "-o", "/dev/null", f"http://{echo(mesh)}/", check=False
            )
            return asking.returncode == 0

        mesh.wait_for("others are served again", others_are_served, patience=40)


def test_the_metrics_port_stops_no_probe_and_nobody_else(mesh: LabHandle) -> None:
    """Prometheus has another address than who keeps the port busy."""
    hold = [sys.executable, str(PROGRAMS / "hold.py"), "127.0.0.1", "9464", str(ALLOWED)]
    with probed(mesh) as failed, running(lifecycle.node_command(mesh.paths, hold)) as storm:
        assert line(storm)["held"] > 0
        for _ in range(5):
            scraped = mesh.node("curl", "-sS", "-m", "5", "--interface", "127.0.0.9", "http://127.0.0.1:9464/metrics")
            assert "weft_decisions_total" in scraped.stdout
    assert failed == []
