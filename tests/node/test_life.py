"""Nothing is lost: ten clients at 200 requests a second each, while modes change and agents are killed."""

import collections
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from os import kill
from pathlib import Path

import pytest
from conftest import LabFactory, LabHandle
from test_routes_http import settle

from agent.lab import lifecycle

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
WAYPOINT = "10.244.0.2"
RATE = 200
ROUNDS = 10


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Ten clients, two servers, a Service with an HTTPRoute; nothing enrolled."""
    return make_lab("life", [HERE / "life.yaml"], agent=True)


def under_load(mesh: LabHandle, seconds: float, meanwhile: Callable[[], None]) -> collections.Counter[str]:
    """What the clients counted while something else happened; fails when anything failed."""
    clients = [key.name for key in mesh.store.load() if key.kind == "Pod" and key.name.startswith("client-")]
    command = [sys.executable, str(HERE / "load.py"), "web.shop", str(seconds), str(RATE), WAYPOINT]
    running = []
    for name in clients:
        argv, environment = lifecycle.exec_command(mesh.paths, f"shop/{name}", command)
        running.append(subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True))
    total: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    try:
        time.sleep(2)
        meanwhile()
    finally:
        for client in running:
            found = json.loads(client.communicate(timeout=seconds + 90)[0])
            total.update(found["counts"])
            failures += found["failures"]
    assert len(clients) == 10
    assert total["failed"] == 0, failures[:10]
    return total


def set_mode(mesh: LabHandle, mode: str) -> None:
    """Label the namespace and wait until it is so."""
    mesh.label("Namespace", "", "shop", f"weft.dev/mode={mode}")
    settle(mesh, lambda status: {p["mode"] for p in status["pods"] if p["pod"].startswith("shop/")} == {mode})


def test_modes_change_and_no_request_is_lost(mesh):
    def change() -> None:
        for _ in range(ROUNDS):
            for mode in ("l4", "l7", "l4", "none"):
                set_mode(mesh, mode)
                time.sleep(0.7)

    total = under_load(mesh, 45, change)
    assert total["new by waypoint"] > 1000
    assert total["new by kernel"] > 1000


def test_the_agent_is_killed_and_no_request_is_lost(mesh):
    set_mode(mesh, "l7")
    frontends = len(mesh.status()["frontends"])

    def restart() -> None:
        for _ in range(ROUNDS):
            mesh.agent_stop(kill=True)
            time.sleep(0.5)
            mesh.agent_start()

    total = under_load(mesh, 45, restart)
    assert total["new by kernel"] == total["kept by kernel"] == 0
    log = mesh.log("agent")
    assert log.count(f"adopted={frontends}") == ROUNDS
    assert "drift found" not in log
    lines = [line for line in log.splitlines() if "msg=applied" in line]
    restarts = log.split("msg=synced")[2:]
    assert len(lines) > 0
    assert all("msg=applied" not in part for part in restarts), "an adopted table was written to"
    assert mesh.status()["drift"] == 0


def test_a_lost_waypoint_refuses_or_goes_on_in_the_kernel_and_comes_back(mesh):
    set_mode(mesh, "l7")
    pod = next(p for p in mesh.status()["pods"] if p["pod"] == "weft-system/weft-waypoint")
    for policy in ("reject", "kernel"):
        mesh.apply(SERVICE.format(policy=policy))
        settle(mesh, lambda status, policy=policy: status["frontends"][-1]["onLoss"] == policy)
        (cgroup,) = [p for p in mesh.paths.kubepods.rglob("pod*") if p.stat().st_ino == pod["cgroup"]]
        for process in "".join(p.read_text() for p in cgroup.rglob("cgroup.procs")).split():
            kill(int(process), signal.SIGKILL)
        wanted = "reject (waypoint lost)" if policy == "reject" else "kernel"
        seen = {frontend["l7"] for frontend in watch(mesh)}
        assert wanted in seen
        mesh.wait_for("the waypoint is back", lambda: mesh.status()["frontends"][-1]["l7"] == "waypoint")


SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop, annotations: {{weft.dev/on-waypoint-loss: {policy}}}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""


def watch(mesh: LabHandle) -> list[dict[str, str]]:
    """What the routed frontend said, from the loss to the return of the waypoint."""
    found = []
    end = time.monotonic() + 20
    lost = False
    while time.monotonic() < end:
        status = mesh.status()
        lost |= status["waypoint"]["lost"]
        found.append(status["frontends"][-1])
        if lost and not status["waypoint"]["lost"] and found[-1]["l7"] == "waypoint":
            break
        time.sleep(0.005)
    return found
