"""A pod that controls its own network namespace does not reach another namespace's listener: neither by translating a
destination, nor by another pod's source address. An endpoint that is the waypoint makes no loop, and an Envoy without
listeners does not become the waypoint.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.lab import lifecycle, weft
from agent.settings import XDS_SOCKET
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OTHER_CLIENT, OUTSIDER, get, settle
from support.node.neighbours import ASK, REFUSED, ROUTE, WAYPOINT, answered, netns_of, ports
from support.node.programs import PROGRAMS, line, running

pytestmark = pytest.mark.node
ELSEWHERE = "192.0.2.99"
STANDBY = "weft-waypoint-2"
STANDBY_ADDRESS = weft.WAYPOINTS[STANDBY].ipv4
TIMED_OUT = 28  # curl's
REDIRECT = f"""
add table ip elsewhere
add chain ip elsewhere output {{ type nat hook output priority -100; }}
add rule ip elsewhere output ip daddr {ELSEWHERE} dnat to {WAYPOINT}
"""
LOOP = f"""
apiVersion: v1
kind: Service
metadata: {{{{name: loop, namespace: app}}}}
spec: {{{{clusterIP: 10.96.9.9, ports: [{{{{name: http, port: 80}}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{{{name: loop, namespace: app, labels: {{{{kubernetes.io/service-name: loop}}}}}}}}
addressType: IPv4
ports: [{{{{name: http, port: {{port}}}}}}]
endpoints: [{{{{addresses: [{WAYPOINT}], conditions: {{{{ready: true}}}}}}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{{{name: loop, namespace: app}}}}
spec:
  parentRefs: [{{{{group: "", kind: Service, name: loop, port: 80}}}}]
  rules: [{{{{backendRefs: [{{{{name: loop, port: 80}}}}]}}}}]
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests; Service echo has a producer's listener, and one for namespace other."""
    lab = make_lab("intrude", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply("".join(map(ROUTE.format, ("app", "other"))))
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 2)
    return lab


def address(mesh: LabHandle, pod: str) -> str:
    """A pod's address."""
    (found,) = [item["addresses"][0] for item in mesh.status()["pods"] if item["pod"].startswith(pod)]
    return str(found)


@contextmanager
def claimed(mesh: LabHandle, pod: str, other: str) -> Iterator[None]:
    """A pod with another's address on its loopback."""
    change = ("ip", "-n", netns_of(mesh, pod), "address")
    mesh.node(*change, "add", f"{other}/32", "dev", "lo")
    try:
        yield
    finally:
        mesh.node(*change, "delete", f"{other}/32", "dev", "lo")


@contextmanager
def redirected(mesh: LabHandle, pod: str) -> Iterator[None]:
    """A pod with a packet filter that sends `ELSEWHERE` to the waypoint: connect's program sees the other address."""
    mesh.exec(pod, "nft", REDIRECT)
    try:
        yield
    finally:
        mesh.exec(pod, "nft", "delete", "table", "ip", "elsewhere")


@pytest.mark.parametrize(("pod", "served"), [(CLIENT, False), (OUTSIDER, False), (OTHER_CLIENT, True)])
def test_a_consumer_s_listener_serves_its_namespace_only_whatever_translates_the_address(
    mesh: LabHandle, pod: str, served: bool
) -> None:
    with redirected(mesh, pod):
        done = mesh.exec(pod, *ASK, f"http://{ELSEWHERE}:{ports(mesh)['consumer']}/", check=False)
    assert (done.stdout == "200") == served
    assert served or done.returncode in REFUSED


def test_nobody_connects_by_another_s_source_address(mesh: LabHandle) -> None:
    victim = address(mesh, OTHER_CLIENT)
    within = ("ip", "netns", "exec", netns_of(mesh, CLIENT))
    url = f"http://{WAYPOINT}:{ports(mesh)['consumer']}/"
    with claimed(mesh, CLIENT, victim):
        done = mesh.node(*within, *ASK, "-m", "3", "--interface", victim, url, check=False)
    assert (done.returncode, done.stdout) == (TIMED_OUT, "000"), "the answer to its SYN goes to the victim"


def test_another_s_address_within_a_pod_is_not_taken_for_its_own(mesh: LabHandle) -> None:
    before = mesh.status()["pods"]
    with claimed(mesh, CLIENT, address(mesh, OTHER_CLIENT)):
        mesh.agent_stop()
        mesh.agent_start()
        settle(mesh, lambda status: len(status["waypoint"]["listeners"]) >= 2)
        assert mesh.status()["pods"] == before
        assert answered(mesh, netns_of(mesh, CLIENT)) == {"producer"}
        assert answered(mesh, netns_of(mesh, OTHER_CLIENT)) == {"producer", "consumer"}


def lines(mesh: LabHandle, path: str) -> list[dict[str, Any]]:
    """What the access log has of a path."""
    written = [json.loads(text) for text in mesh.log("agent").splitlines() if text.startswith("{")]
    return [item for item in written if item.get("path") == path]


def test_a_route_to_its_own_listener_is_no_loop(mesh: LabHandle) -> None:
    mesh.label("Namespace", "", "app", "weft.dev/access-log=true")
    mesh.apply(LOOP.format(port=1))
    settle(mesh, lambda status: len(status["waypoint"]["listeners"]) == 3)
    (port,) = [item["port"] for item in mesh.status()["waypoint"]["listeners"] if "loop" in item["name"]]
    mesh.apply(LOOP.format(port=port))
    refusal = "an address of this node's waypoint"
    mesh.wait_for("the endpoint is refused", lambda: refusal in json.dumps(mesh.status()))
    for number in range(3):
        assert get(mesh, f"http://loop.app/{number}").status == 503
        mesh.wait_for("it is logged", lambda path=f"/{number}": bool(lines(mesh, path)))
        assert [line["upstream"] for line in lines(mesh, f"/{number}")] == [None], "once, and sent nowhere"
    mesh.delete(LOOP.format(port=port))


def refused_in(mesh: LabHandle, pod: str) -> int:
    """How many connections a pod where nobody listens has refused."""
    counters = mesh.exec(pod, "grep", "^Tcp:", "/proc/net/snmp").stdout.splitlines()
    return int(dict(zip(*(text.split() for text in counters), strict=True))["OutRsts"])


def test_a_standby_without_listeners_does_not_take_over(mesh: LabHandle) -> None:
    """It has a waypoint's address, is newer than the Envoy that serves, and acknowledges everything."""
    pod = weft.waypoint_pod(mesh.paths, STANDBY)
    pod["spec"]["containers"][0]["command"] = ["sleep", "infinity"]
    mesh.apply(json.dumps(pod))
    mesh.wait_ready()
    mesh.wait_for("the agent knows its pod", lambda: STANDBY_ADDRESS in json.dumps(mesh.status()["pods"]))
    program = str(PROGRAMS / "fake_envoy.py")
    command = [sys.executable, program, str(mesh.paths.state / XDS_SOCKET), STANDBY_ADDRESS, "other"]
    with running(lifecycle.node_command(mesh.paths, command)) as fake:
        assert {"app/echo:80", "app/echo:80@other"} <= set(line(fake)), "it has acknowledged the listeners"
        mesh.wait_for(
            "the agent tries them", lambda: refused_in(mesh, f"{pod['metadata']['namespace']}/{STANDBY}") >= 10
        )
        waypoint = mesh.status()["waypoint"]
        assert (waypoint["addresses"], waypoint["standby"]) == ([WAYPOINT], [STANDBY_ADDRESS])
        assert [get(mesh, "http://echo.app/", client=client).status for client in (CLIENT, OTHER_CLIENT)] == [200, 200]
    mesh.delete(json.dumps(pod))
    mesh.wait_for("it is gone", lambda: STANDBY_ADDRESS not in json.dumps(mesh.status()["pods"]))
    assert mesh.status()["waypoint"]["addresses"] == [WAYPOINT]
