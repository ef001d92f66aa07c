"""Nothing is lost: ten clients with requests of every kind, while routes and modes change and agents are killed.

Connections are there from the beginning to the end: nobody asks them to go.
"""

import signal
import time
from collections.abc import Callable
from os import kill

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.life_load import LONG, ROUNDS, WHOLE, Seen, load, manifest, paced
from support.node.mesh import settle
from support.node.moves import at_the_waypoint, set_mode

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

EDITS_PER_SECOND = 20
EDITING_SECONDS = 60 if WHOLE else 10
LONG_LIVED = (*LONG, "kept", "kept POST", "gRPC calls")


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    """Ten clients of an HTTP and a gRPC Service with Routes; nothing enrolled."""
    return make_lab("life", [manifest(tmp_path_factory.mktemp("life"))], agent=True)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[Seen, str], None]:
    """Print what was done and what happened to the long-lived connections."""

    def show(seen: Seen, what: str) -> None:
        with capsys.disabled():
            print(f"\n{what}\n{seen.table()}")

    return show


def untouched(seen: Seen) -> bool:
    """Whether every long-lived connection lasted as long as its client wanted."""
    wanted = {(kind, "ended by the client" if kind in LONG else "still there") for kind in LONG_LIVED}
    return set(seen.ends) == wanted and not any(life["goaway"] for life in seen.lives)


def test_modes_change_and_no_request_is_lost(mesh, show):
    with load(mesh) as seen:
        for _ in range(ROUNDS):
            for mode in ("l4", "l7", "l4", "none"):
                set_mode(mesh, mode)
                time.sleep(0.7)
    show(seen, f"modes changed {4 * ROUNDS} times")
    assert seen.failures == []
    assert seen.by_kernel("new") > 100
    assert sum(seen.counts[f"new by {address}"] for address in mesh.waypoints.values()) > 100
    assert untouched(seen)


def test_routes_are_edited_and_no_request_is_lost(mesh, show):
    at_the_waypoint(mesh)
    with load(mesh) as seen:
        edits = paced(EDITS_PER_SECOND, EDITING_SECONDS, lambda number: mesh.apply(ROUTE.format(number=number)))
    show(seen, f"{edits} edits of a Route")
    assert seen.failures == []
    assert edits > EDITING_SECONDS
    assert seen.exchanges > 1000
    assert untouched(seen)
    assert f"x-edit: {edits - 1}" in mesh.exec("shop/client", "curl", "-si", "http://web.shop/").stdout.lower()


def test_the_agent_is_killed_and_no_request_is_lost(mesh, show):
    at_the_waypoint(mesh)
    frontends, before = len(mesh.status()["frontends"]), mesh.log("agent").count("msg=synced")
    with load(mesh) as seen:
        for _ in range(ROUNDS):
            mesh.agent_stop(kill=True)
            time.sleep(0.5)
            mesh.agent_start()
    show(seen, f"agent killed {ROUNDS} times")
    assert seen.failures == []
    assert seen.by_kernel("new") == seen.by_kernel("kept") == 0
    assert untouched(seen)
    restarts = mesh.log("agent").split("msg=synced")[1 + before :]
    assert len(restarts) == ROUNDS
    assert all(f"adopted={frontends}" in part for part in restarts)
    assert all("msg=applied" not in part for part in restarts), "an adopted table was written to"
    assert all("drift found" not in part for part in restarts)
    assert mesh.status()["drift"] == 0


def test_a_lost_waypoint_refuses_or_goes_on_in_the_kernel_and_comes_back(mesh):
    at_the_waypoint(mesh)
    pod = next(p for p in mesh.status()["pods"] if p["pod"] == "weft-system/weft-waypoint")
    for policy in ("reject", "kernel"):
        mesh.apply(SERVICE.format(policy=policy))
        settle(mesh, lambda status, policy=policy: web(status)["onWaypointLoss"] == policy)
        (cgroup,) = [p for p in mesh.paths.kubepods.rglob("pod*") if p.stat().st_ino == pod["cgroup"]]
        for process in "".join(p.read_text() for p in cgroup.rglob("cgroup.procs")).split():
            kill(int(process), signal.SIGKILL)
        wanted = "reject (waypoint lost)" if policy == "reject" else "kernel"
        assert wanted in {frontend["l7"] for frontend in watch(mesh)}
        mesh.wait_for("the waypoint is back", lambda: web(mesh.status())["l7"] == "waypoint")


SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop, annotations: {{weft.dev/on-waypoint-loss: {policy}}}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, port: 80}}]
  rules:
  - backendRefs: [{{name: web, port: 80}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-edit, value: "{number}"}}]}}}}]
"""


def web(status: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """The frontend of the Service with the policy."""
    (found,) = [frontend for frontend in status["frontends"] if frontend["service"] == "shop/web"]
    return found


def watch(mesh: LabHandle) -> list[dict[str, str]]:
    """What the routed frontend said, from the loss to the return of the waypoint."""
    found = []
    end = time.monotonic() + 20
    lost = False
    while time.monotonic() < end:
        status = mesh.status()
        lost |= status["waypoint"]["lost"]
        found.append(web(status))
        if lost and not status["waypoint"]["lost"] and found[-1]["l7"] == "waypoint":
            break
        time.sleep(0.005)
    return found
