"""Who gets no answer from the waypoint, each really there: tried past the kernel's refusal, by the address alone.

Processes outside of any pod's cgroup stand in network namespaces: the kernel's programs do not concern them, so what
refuses them is the listener.
"""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.lab import launch, lifecycle
from agent.lab.families import IPV4
from agent.lab.paths import NODE_NAME
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OTHER_CLIENT, OUTSIDER, settle
from support.node.neighbours import (
    LAN,
    OTHER_NODE_S_POD,
    ROUTE,
    WAYPOINT,
    answered,
    neighbour,
    netns_of,
    ports,
)

pytestmark = pytest.mark.node
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: app, uid: {uid}}}
spec: {{nodeName: {node}, hostNetwork: {on_host}}}
status: {{phase: Running, podIPs: [{{ip: {address}}}]}}
"""
LEAVING = """
apiVersion: v1
kind: Pod
metadata: {name: leaving, namespace: app}
spec: {containers: [{name: main, command: [sleep, infinity]}]}
"""
LEAVER = LEAVING.replace("leaving", "leaver")
# One new connection after the other, at a hundred a second at most, until told to stop.
STEADY = """
import collections, json, select, sys, time, urllib.request
peers, failures = collections.Counter(), []
def ask():
    try:
        with urllib.request.urlopen("http://echo.app/", timeout=10) as answer:
            peers[json.loads(answer.read())["peer"].rpartition(":")[0]] += 1
    except Exception as error:
        failures.append(repr(error))
ask()
print("began", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    ask()
ask()
print(json.dumps({"peers": peers, "failures": failures}))
"""
DIAL = """
import errno, socket
for address in {}:
    print(errno.errorcode.get(socket.socket().connect_ex(address), "connected"))
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests; Service echo has a producer's listener, and one for namespace other."""
    lab = make_lab("near", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply("".join(map(ROUTE.format, ("app", "other"))))
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 2)
    return lab


def mode_of(mesh: LabHandle, pod: str) -> str:
    """A pod's mode, as the agent says."""
    (found,) = [item["mode"] for item in mesh.status()["pods"] if item["pod"] == pod]
    return found


def test_a_pod_s_address_is_allow_listed_where_its_namespace_is(mesh: LabHandle) -> None:
    assert ports(mesh).keys() == {"producer", "consumer"}
    assert answered(mesh, netns_of(mesh, CLIENT)) == {"producer"}
    assert answered(mesh, netns_of(mesh, OTHER_CLIENT)) == {"producer", "consumer"}


def test_a_pod_that_is_not_in_the_mesh_is_refused(mesh: LabHandle) -> None:
    """Its kernel says EPERM; what translates addresses in a pod's own network namespace comes after that."""
    assert answered(mesh, netns_of(mesh, OUTSIDER)) == set()


def test_a_waypoint_is_no_client_of_itself(mesh: LabHandle) -> None:
    assert answered(mesh, netns_of(mesh, "weft-system/weft-waypoint")) == set()


def test_a_pod_that_leaves_the_mesh_loses_no_request_and_is_refused_after_the_grace_time(mesh: LabHandle) -> None:
    mesh.apply(LEAVER)
    mesh.wait_ready()
    mesh.wait_for(
        "its address is on the allow list", lambda: answered(mesh, netns_of(mesh, "app/leaver")) == {"producer"}
    )
    command, environment = lifecycle.exec_command(mesh.paths, "app/leaver", [sys.executable, "-c", STEADY])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **pipes) as asking:
        assert asking.stdout.readline() == "began\n"
        mesh.label("Pod", "app", "leaver", "weft.dev/mode=none")
        mesh.wait_for("it has left", lambda: mode_of(mesh, "app/leaver") == "none")
        still = answered(mesh, netns_of(mesh, "app/leaver"))
        done = json.loads(asking.communicate("stop\n")[0])
    assert still == {"producer"}, "a connection may still be on its way"
    assert done["failures"] == []
    assert done["peers"].keys() > {WAYPOINT}, "some went by the waypoint, and some, after it had left, did not"
    refused = lambda: answered(mesh, netns_of(mesh, "app/leaver")) == set()  # noqa: E731
    mesh.wait_for("it is refused", refused, patience=3 * LISTENER_GRACE_SECONDS)
    mesh.delete(LEAVER)


@pytest.mark.parametrize("pod", [CLIENT, OTHER_CLIENT, OUTSIDER])
def test_no_pod_dials_a_waypoint_itself(mesh: LabHandle, pod: str) -> None:
    found = mesh.python(pod, DIAL.format([(WAYPOINT, port) for port in ports(mesh).values()]))
    assert found.split() == ["EPERM", "EPERM"]


def test_the_host_and_its_neighbour_are_refused(mesh: LabHandle) -> None:
    assert answered(mesh, mesh.paths.node_netns) == set()
    assert answered(mesh, neighbour(mesh, "lan", LAN)) == set()


def test_a_pod_of_another_node_is_refused_and_one_on_the_host_s_network_is_l4_only(mesh: LabHandle) -> None:
    uid = str(uuid4())
    elsewhere = POD.format(name="elsewhere", uid=uuid4(), node="another", on_host="false", address=OTHER_NODE_S_POD)
    on_host = POD.format(name="on-host", uid=uid, node=NODE_NAME, on_host="true", address=IPV4.node)
    cgroup = mesh.paths.pod_cgroup(uid)
    cgroup.mkdir()
    # Not by the lab's own store: it would run them.
    (mesh.paths.manifests / "pods.yaml").write_text(f"{elsewhere}---{on_host}")
    mesh.wait_for("both are known", lambda: any(pod["l4Only"] for pod in mesh.status()["pods"]))
    assert answered(mesh, neighbour(mesh, "far", OTHER_NODE_S_POD)) == set()
    (ineffective,) = mesh.status()["ineffectiveRoutes"]
    assert ineffective == {"clients": "app, pods on the host's network", "routes": ["HTTPRoute app/r"]}
    metrics = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout
    assert 'weft_pods{mode="l4 only"} 1.0' in metrics
    assert """weft_ineffective_routes{clients="app, pods on the host's network"} 1.0""" in metrics
    service = mesh.get("Service", "app", "echo")
    assert service is not None
    address = service["spec"]["clusterIP"]
    command = launch.command(launch.ExecContext(cgroup, mesh.paths.node_netns), ["curl", "-sS", f"http://{address}/"])
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(seen.splitlines()[0])["peer"].startswith(f"{IPV4.node}:")


def test_a_freed_address_is_refused(mesh: LabHandle) -> None:
    mesh.apply(LEAVING)
    mesh.wait_ready()
    (address,) = mesh.get("Pod", "app", "leaving")["status"]["podIPs"]
    mesh.wait_for(
        "its address is on the allow list", lambda: answered(mesh, netns_of(mesh, "app/leaving")) == {"producer"}
    )
    mesh.delete(LEAVING)
    mesh.wait_for("it is gone", lambda: "app/leaving" not in {pod["pod"] for pod in mesh.status()["pods"]})
    successor = neighbour(mesh, "next", address["ip"])
    mesh.wait_for("its successor is refused", lambda: answered(mesh, successor) == set())
