"""The agent's part of encryption on a node, whatever its kernel has: modes, refusals, what the status says.

The other node is a network namespace with one of its addresses. It has no agent, so no packet to it can be encrypted.
Two agents whose kernels have WireGuard: vm-tests/nodes/test_encryption.py.
"""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.agent_client import get
from agent.lab.paths import NODE_NAME
from agent.node.encryption_controller import NO_NODE
from agent.settings import STATUS_SOCKET
from support.node.lab_handle import LabFactory, LabHandle
from support.node.neighbours import OTHER_NODE_S_POD, neighbour, netns_of

pytestmark = pytest.mark.node

PORT = 8080
CONNECT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1):
        print("connected")
except OSError as error:
    print(type(error).__name__)
"""


# A Service whose one endpoint is the pod of the other node.
SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: far, namespace: app}}
spec: {{clusterIP: 10.96.77.1, ports: [{{name: tcp, port: {PORT}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: far, namespace: app, labels: {{kubernetes.io/service-name: far}}}}
addressType: IPv4
ports: [{{name: tcp, port: {PORT}}}]
endpoints: [{{addresses: [{OTHER_NODE_S_POD}]}}]
"""
FAILURE = ("app/far", "no_tunnel", "EHOSTUNREACH")


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return make_lab("wire", [Path(__file__).with_name("routes.yaml")], agent=True)


@pytest.fixture(scope="module")
def other(mesh: LabHandle) -> str:
    """A pod of another node, with a server: its network namespace."""
    found = neighbour(mesh, "far", OTHER_NODE_S_POD)
    server = ("ip", "netns", "exec", found, sys.executable, "-m", "http.server", "--bind", "::", str(PORT))
    mesh.node("sh", "-c", f"{' '.join(server)} > /dev/null 2>&1 &")
    mesh.wait_for("the server listens", lambda: connects(mesh, found, OTHER_NODE_S_POD))
    return found


@pytest.fixture
def parameters(mesh: LabHandle) -> Iterator[None]:
    """Nodes with ranges; afterwards encryption is off."""
    for name, cidr in ((NODE_NAME, "10.244.0.0/24"), ("n2", "10.244.77.0/24")):
        mesh.apply(json.dumps(node(name, [cidr])))
    yield
    set_mode(mesh, "Off")


def node(name: str, cidrs: list[str]) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": "10.99.0.1"}]}
    meta = {"metadata": {"name": name}, "spec": {"podCIDRs": cidrs}, "status": status}
    return {"apiVersion": "v1", "kind": "Node"} | meta


def set_mode(mesh: LabHandle, mode: str) -> None:
    encryption = {"mode": mode, "podCIDRs": ["10.244.0.0/16"]}
    meta = {"metadata": {"name": "default"}, "spec": {"encryption": encryption}}
    mesh.apply(json.dumps({"apiVersion": "weft.dev/v1alpha1", "kind": "MeshParameters"} | meta))
    mesh.wait_for(f"mode {mode}", lambda: shown(mesh)["mode"] == mode)


def shown(mesh: LabHandle) -> Any:
    return mesh.status()["encryption"]


def connects(mesh: LabHandle, netns: str, address: str) -> bool:
    done = mesh.node("ip", "netns", "exec", netns, sys.executable, "-c", CONNECT, address, str(PORT))
    return done.stdout == "connected\n"


def rules(mesh: LabHandle) -> str:
    return mesh.node(
        "sh", "-c", "ip rule; ip -6 rule; ip -o link | grep weft-wg; ip route show table 5187", check=False
    ).stdout


def addresses(mesh: LabHandle) -> tuple[str, str]:
    """Of two pods of the node with servers."""
    found = sorted((pod["pod"], pod["addresses"][0]) for pod in mesh.status()["pods"])
    v1, v2 = (next(address for name, address in found if name.startswith(f"app/{which}")) for which in ("v1", "v2"))
    return v1, v2


def test_a_mode_that_the_node_cannot_have_is_named(mesh: LabHandle) -> None:
    set_mode(mesh, "Pods")
    assert shown(mesh)["unsupported"] == NO_NODE
    mesh.apply(json.dumps(node(NODE_NAME, [])))
    mesh.wait_for("the Node is known", lambda: "spec.podCIDRs" in shown(mesh)["unsupported"])
    set_mode(mesh, "Off")
    assert shown(mesh)["unsupported"] == ""


@pytest.mark.usefixtures("parameters")
def test_strict_refuses_what_cannot_be_encrypted_and_off_leaves_nothing(mesh: LabHandle, other: str) -> None:
    local, neighbour_pod = addresses(mesh)
    client = netns_of(mesh, "app/v1")
    before = rules(mesh)
    set_mode(mesh, "Pods")
    assert connects(mesh, client, OTHER_NODE_S_POD)
    assert connects(mesh, other, local)
    set_mode(mesh, "Strict")
    mesh.wait_for("nothing plain leaves", lambda: not connects(mesh, client, OTHER_NODE_S_POD))
    assert not connects(mesh, other, local)
    assert [item["packets"] for item in shown(mesh)["nodes"]] == ["refused"]
    # Pods of the node, and the node itself, are not concerned.
    assert connects(mesh, client, neighbour_pod)
    assert connects(mesh, mesh.paths.node_netns, OTHER_NODE_S_POD)
    mesh.agent_stop(kill=True)
    assert not connects(mesh, client, OTHER_NODE_S_POD)
    assert not connects(mesh, other, local)
    mesh.agent_start()
    set_mode(mesh, "Off")
    mesh.wait_for("nothing is left", lambda: rules(mesh) == before)
    assert connects(mesh, client, OTHER_NODE_S_POD)
    assert connects(mesh, other, local)


def prove(mesh: LabHandle, meanwhile: Callable[[], None]) -> tuple[int, str]:
    """The exit code of `weft status --prove-encryption` and what it prints; `meanwhile` runs while it counts."""
    command = (sys.executable, "-m", "agent", "status", "--state", str(mesh.paths.state), "--prove-encryption=5")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as proof:
        while proof.poll() is None:
            meanwhile()
        assert proof.stdout
        return proof.returncode, proof.stdout.read()


@pytest.mark.usefixtures("parameters")
def test_a_leak_is_proved_by_the_frames_on_the_uplink(mesh: LabHandle, other: str) -> None:
    """The link to the other node has the address of the Node."""
    client = netns_of(mesh, "app/v1")
    assert other
    mesh.node("ip", "address", "add", "10.99.0.1/32", "dev", "vethfar")
    set_mode(mesh, "Pods")
    try:
        code, text = prove(mesh, lambda: connects(mesh, client, OTHER_NODE_S_POD))
        assert code == 3, text
        flows = [line.split() for line in text.splitlines() if line.startswith("vethfar") and "TCP" in line]
        assert {line[1] for line in flows} == {"sent", "received"}, text
        assert all("app/v1" in " ".join(line) and "a pod of n2 (10.244.77.7)" in " ".join(line) for line in flows), text
        set_mode(mesh, "Strict")
        mesh.wait_for("nothing plain leaves", lambda: not connects(mesh, client, OTHER_NODE_S_POD))
        code, text = prove(mesh, lambda: connects(mesh, client, OTHER_NODE_S_POD))
        assert (code, "this shows nothing" in text) == (0, True), text
    finally:
        mesh.node("ip", "address", "delete", "10.99.0.1/32", "dev", "vethfar")


@pytest.mark.usefixtures("parameters")
def test_frames_that_cannot_be_counted_prove_nothing(mesh: LabHandle) -> None:
    """No link has the address of the Node."""
    set_mode(mesh, "Pods")
    code, text = prove(mesh, lambda: None)
    assert (code, "0 links to other nodes" in text) == (4, True), text


@pytest.mark.usefixtures("parameters")
def test_a_connection_that_no_tunnel_leads_to_fails_with_a_reason(mesh: LabHandle, other: str) -> None:
    assert other
    mesh.apply(SERVICE)
    set_mode(mesh, "Strict")
    mesh.wait_for("a frontend", lambda: any(it["service"] == "app/far" for it in mesh.status()["frontends"]))
    client = netns_of(mesh, "app/v1")
    mesh.wait_for("nothing plain leaves", lambda: not connects(mesh, client, OTHER_NODE_S_POD))
    dial = f"import socket; print(socket.socket().connect_ex(('10.96.77.1', {PORT})))"
    mesh.wait_for("the failure", lambda: mesh.python("app/client", dial) == f"{errno.EHOSTUNREACH}\n")
    explained = mesh.node(
        *(sys.executable, "-m", "agent", "explain", "app/client", f"far.app:{PORT}"),
        *("--state", str(mesh.paths.state)),
    ).stdout
    assert re.search(r"Strict, and there is no tunnel to node n2: .+ \(EHOSTUNREACH\)", explained), explained

    def shown_event() -> bool:
        events = get(mesh.paths.state / STATUS_SOCKET, "/events?after=0")["events"]
        return any((it["service"], it["reason"], it["errno"]) == FAILURE for it in events)

    mesh.wait_for("the event", shown_event)


@pytest.mark.usefixtures("parameters")
def test_rules_that_others_remove_are_restored_and_counted(mesh: LabHandle) -> None:
    set_mode(mesh, "Strict")
    mesh.wait_for("rules", lambda: "10.244.0.0/16" in rules(mesh))
    mesh.wait_for("no error", lambda: not shown(mesh)["error"])
    before = rules(mesh)

    def restored() -> bool:
        """The first time the agent may still be about to install the plan."""
        mesh.node("ip", "rule", "delete", "priority", "113")
        mesh.wait_for("the rule is back", lambda: rules(mesh) == before)
        return "rules were changed, restoring them" in mesh.log("agent")

    mesh.wait_for("the agent says what it restores", restored)


@pytest.mark.usefixtures("parameters")
def test_uninstall_leaves_nothing(mesh: LabHandle) -> None:
    set_mode(mesh, "Off")
    mesh.wait_for("nothing is there", lambda: "5187" not in rules(mesh))
    before = rules(mesh)
    set_mode(mesh, "Strict")
    mesh.wait_for("rules", lambda: "10.244.0.0/16" in rules(mesh))
    mesh.agent_stop()
    mesh.node(sys.executable, "-m", "agent", "uninstall", "--state", str(mesh.paths.state / "other"))
    assert rules(mesh) == before
    mesh.agent_start()
