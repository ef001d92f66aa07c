"""Nobody uses up the waypoint for others by opening connections: who is not on the allow-list holds nothing; who is on
it leaves room to other namespaces, and is closed when it says nothing. There is no NetworkPolicy here.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.lab import lifecycle
from support.node.lab_handle import ECHO_TO_V1, LabFactory, LabHandle
from support.node.mesh import OTHER_CLIENT, settle
from support.node.neighbours import LAN, OTHER_NODE_S_POD, WAYPOINT, neighbour
from support.node.programs import PROGRAMS, echo, line, running, steady_requests

pytestmark = pytest.mark.node

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


def listener(mesh: LabHandle) -> int:
    """The port of the one listener."""
    (found,) = mesh.status()["waypoint"]["listeners"]
    return int(found["port"])


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
    with steady_requests(mesh) as seen, probed(mesh) as failed, ExitStack() as stack:
        storm = held_from(mesh, outside, port, OUTSIDE, stack) + held_from(mesh, elsewhere, port, NOT_ALLOWED, stack)
        came_to = [line(process) for process in storm]
    print(came_to, seen["requests"], seen["failed"][:5])
    assert (seen["failed"], failed) == ([], [])
    assert seen["requests"] > 0
    assert came_to == [{"held": 0, "ECONNREFUSED": PART}] * 2 + [{"held": 0, "ECONNREFUSED": NOT_ALLOWED}]


@pytest.mark.parametrize("sent_bytes", ["", UNFINISHED], ids=["nothing", "half a head"])
def test_who_is_allowed_and_does_not_ask_leaves_room_to_others_and_is_closed(mesh: LabHandle, sent_bytes: str) -> None:
    command = [sys.executable, str(PROGRAMS / "hold.py"), echo(mesh), "80", str(ALLOWED), sent_bytes]
    with steady_requests(mesh) as seen, running(*lifecycle.exec_command(mesh.paths, OTHER_CLIENT, command)) as pod:
        held = line(pod)["held"]
        assert held > 1000

        def closed() -> bool:
            assert pod.stdin is not None
            pod.stdin.write("again\n")
            pod.stdin.flush()
            return bool(line(pod)["ended"] == held)

        mesh.wait_for("all are closed", closed, patience=40)
    assert seen["failed"] == []


def test_the_metrics_port_stops_no_probe_and_nobody_else(mesh: LabHandle) -> None:
    """Prometheus has another address than who keeps the port busy."""
    hold = [sys.executable, str(PROGRAMS / "hold.py"), "127.0.0.1", "9464", str(ALLOWED)]
    with probed(mesh) as failed, running(lifecycle.node_command(mesh.paths, hold)) as storm:
        assert line(storm)["held"] > 0
        for _ in range(5):
            scraped = mesh.node("curl", "-sS", "-m", "5", "--interface", "127.0.0.9", "http://127.0.0.1:9464/metrics")
            assert "weft_decisions_total" in scraped.stdout
    assert failed == []
