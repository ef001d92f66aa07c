"""The waypoint is replaced at another address, or lost, while no agent runs: the next agent has clients served."""

import json
from pathlib import Path

import pytest

from agent.lab.weft import WAYPOINTS, waypoint_pod, waypoints
from support.node.lab_handle import LabFactory, LabHandle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mode: l7}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: echo, image: weft/echo, args: [--http, "8080"]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: main, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - backendRefs: [{name: web, port: 80}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-way, value: waypoint}]}}]
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    """A client and a server in mode l7, without a Route."""
    manifest: Path = tmp_path_factory.mktemp("moved") / "mesh.yaml"
    manifest.write_text(MESH)
    return make_lab("moved", [manifest], agent=True)


def present(mesh: LabHandle) -> str:
    """The name of the only waypoint that there is."""
    (name,) = waypoints(mesh.store.load())
    return name


def move(mesh: LabHandle) -> str:
    """End the waypoint, and have another one ready at another address; returns that address."""
    old = present(mesh)
    (new,) = WAYPOINTS.keys() - {old}
    mesh.delete(json.dumps(waypoint_pod(mesh.paths, old)))
    mesh.apply(json.dumps(waypoint_pod(mesh.paths, new)))
    mesh.wait_ready()
    return mesh.waypoints[new]


def answer(mesh: LabHandle) -> str:
    """The headers that the client gets, in lower case; empty when it gets none."""
    return mesh.exec("shop/client", "curl", "-s", "-m", "5", "-o", "/dev/null", "-D", "-", "http://web.shop/",
                     check=False).stdout.lower()  # fmt: skip


def goes_by(mesh: LabHandle, address: str) -> None:
    """Wait until the client's requests are answered by way of this waypoint."""
    mesh.wait_for(f"served by {address}", lambda: mesh.status()["waypoint"]["addresses"] == [address], patience=40)
    mesh.wait_for("the Route has effect", lambda: "x-way: waypoint" in answer(mesh), patience=40)
    assert not mesh.status()["waypoint"]["lost"]


@pytest.fixture
def served(mesh: LabHandle) -> LabHandle:
    """The Route has effect."""
    mesh.apply(ROUTE)
    goes_by(mesh, mesh.waypoints[present(mesh)])
    return mesh


def test_the_waypoint_moved_while_the_agent_was_away(served: LabHandle) -> None:
    served.agent_stop(kill=True)
    address = move(served)
    served.agent_start()
    goes_by(served, address)


def test_the_waypoint_was_lost_before_the_agent_went(served: LabHandle) -> None:
    old = present(served)
    served.delete(json.dumps(waypoint_pod(served.paths, old)))
    served.wait_for("the waypoint is lost", lambda: served.status()["waypoint"]["lost"])
    served.wait_for("the client is refused", lambda: not answer(served))
    served.agent_stop(kill=True)
    (new,) = WAYPOINTS.keys() - {old}
    served.apply(json.dumps(waypoint_pod(served.paths, new)))
    served.agent_start()
    goes_by(served, served.waypoints[new])
    served.agent_stop()
    served.agent_start()
    goes_by(served, served.waypoints[new])


def test_the_waypoint_moved_before_there_was_a_route(served: LabHandle) -> None:
    served.delete(ROUTE)
    served.wait_for("nobody is sent there", lambda: answer(served).startswith("http/1.1 200") and not routed(served))
    served.agent_stop(kill=True)
    address = move(served)
    served.agent_start()
    served.apply(ROUTE)
    goes_by(served, address)


def routed(mesh: LabHandle) -> bool:
    """Whether a frontend sends clients to the waypoint."""
    return any("waypoint" in (frontend["l4"], frontend["l7"]) for frontend in mesh.status()["frontends"])
