"""A namespace that asks for more slots than there are: others do not notice, and everybody is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.node.lab_handle import FACES, LabFactory, LabHandle
from support.node.mesh import settle
from support.node.sources import with_slots

pytestmark = pytest.mark.node

CLIENT = "faces/face"
SLOTS = 1024
MANY_PORTS, ENDPOINTS, FEW = 30, 40, 60
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: moved, namespace: faces}}
spec: {{clusterIP: 10.96.9.9, selector: {{app: smiley, version: {version}}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


def evil(name: str, address: str, number: int, backends: int) -> str:
    """A Service that is in no mesh, with a slice that its owner wrote."""
    ports = ", ".join(f"{{name: p{port}, port: {8000 + port}}}" for port in range(number))
    endpoints = ", ".join(f"{{addresses: [10.244.77.{at + 1}]}}" for at in range(backends))
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: evil}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: evil}}
spec: {{clusterIP: {address}, ports: [{ports}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: evil, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{ports}]
endpoints: [{endpoints}]
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sources with few slots."""
    return with_slots(tmp_path_factory.mktemp("small"), SLOTS)


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, small: Path) -> LabHandle:
    """The faces in mode l4, and an agent whose table of slots is small."""
    lab = make_lab("budget", [FACES / "faces.yaml"])
    lab.label("Namespace", "", "faces", "weft.dev/mode=l4")
    lab.agent_start(small)
    lab.apply(SERVICE.format(version="v1"))
    settle(lab, lambda status: any(map(served, status["frontends"])))
    assert served_by(lab) == "v1"
    return lab


def served(frontend: dict[str, Any]) -> bool:
    """Whether it is one of the Service, and has backends."""
    return frontend["service"] == "faces/moved" and bool(frontend["backends"])


def served_by(mesh: LabHandle) -> str:
    """The version of the pod that answers at the Service."""
    return str(mesh.curl(CLIENT, "http://10.96.9.9/")["pod"]).split("-")[1]


def weft(mesh: LabHandle, *arguments: str) -> str:
    command = [sys.executable, "-m", "agent", *arguments, "--state", str(mesh.paths.state)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout


def test_a_namespace_that_wants_all_slots_is_told_and_others_go_on(mesh: LabHandle) -> None:
    """1200 slots of 1024, and single ones for what that leaves."""
    mesh.apply(evil("many", "10.96.0.2", MANY_PORTS, ENDPOINTS))
    settle(mesh, lambda status: status["failures"])
    mesh.apply(evil("few", "10.96.0.3", FEW, 1))
    settle(mesh, lambda status: any(item["service"] == "evil/few" for item in status["frontends"]))
    for version in ("v2", "v1", "v2"):
        mesh.apply(SERVICE.format(version=version))
        mesh.wait_for(f"{version} answers", lambda version=version: served_by(mesh) == version)
    rows = {
        (row["resource"], row["namespace"]): row for row in json.loads(weft(mesh, "top", "--by=namespace", "-ojson"))
    }
    greedy = rows["slots", "evil"]
    print(weft(mesh, "top", "--by", "namespace", "--once"))
    assert greedy["used"] == greedy["limit"], "ports with one endpoint fill its share"
    assert greedy["rejected"] == MANY_PORTS + FEW - rows["frontends", "evil"]["used"]
    assert rows["slots", "faces"]["rejected"] == 0
    assert "budget of slots: namespace evil has" in weft(mesh, "status")
    metrics = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout.splitlines()
    assert f'weft_budget_used{{namespace="evil",resource="slots"}} {float(greedy["used"])}' in metrics
    assert f'weft_budget_capacity{{resource="slots"}} {float(SLOTS)}' in metrics


def test_a_new_agent_leaves_everything_as_it_is(mesh: LabHandle, small: Path) -> None:
    before = mesh.status()
    mesh.agent_stop(kill=True)
    mesh.agent_start(small)
    settle(mesh, lambda status: status["ready"])
    after = mesh.status()
    assert (after["failures"].keys(), after["tables"]) == (before["failures"].keys(), before["tables"])
    assert served_by(mesh) == "v2"
