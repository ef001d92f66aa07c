"""What the waypoint does not do for those who choose addresses: who writes a slice, or translates addresses in its pod.

Every way is one that reached the waypoint's own ports, or another's Service through it, where a pod itself cannot.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OTHER_CLIENT, OUTSIDER, settle
from support.node.neighbours import ASK, REFUSED, netns_of

pytestmark = pytest.mark.node
WAYPOINT = "10.244.0.2"
ELSEWHERE = "198.51.100.7"
PORT = 20000
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules: [{backendRefs: [{name: v1, port: 80}]}]
"""
# A Service whose endpoint its owner wrote, and a Route of theirs that has the waypoint go there.
DEPUTY = """
apiVersion: v1
kind: Service
metadata: {{name: deputy, namespace: other}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: deputy-1, namespace: other, labels: {{kubernetes.io/service-name: deputy}}}}
addressType: {kind}
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: ["{address}"]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: deputy, namespace: other}}
spec:
  parentRefs: [{{group: "", kind: Service, name: deputy, port: 80}}]
  rules: [{{backendRefs: [{{name: deputy, port: 80}}]}}]
"""
FORWARD = """
table ip weft-test {{
    chain output {{
        type nat hook output priority -100;
        ip daddr {elsewhere} tcp dport 80 dnat to {waypoint}:{port}
    }}
}}
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests; Service echo has a listener."""
    lab = make_lab("deputy", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply(ROUTE)
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 1)
    return lab


@pytest.fixture
def deputy(mesh: LabHandle, request: pytest.FixtureRequest) -> Iterator[LabHandle]:
    """The mesh while the Service deputy has this endpoint."""
    address, port = request.param
    text = DEPUTY.format(address=address, port=port, kind="IPv6" if ":" in address else "IPv4")
    mesh.apply(text)
    settle(mesh, lambda status: any(route["name"] == "deputy" for route in status["routes"]))
    mesh.wait_for("clients go to the waypoint", lambda: word_of(mesh, "other/deputy") == "waypoint")
    yield mesh
    mesh.delete(text)
    settle(mesh, lambda status: all(route["name"] != "deputy" for route in status["routes"]))


def word_of(mesh: LabHandle, service: str) -> str:
    """What the kernel does for clients in mode l7."""
    return next((item["l7"] for item in mesh.status()["frontends"] if item["service"] == service), "")


def listener_port(mesh: LabHandle) -> int:
    """The port of the listener of Service echo."""
    (port,) = [item["port"] for item in mesh.status()["waypoint"]["listeners"] if item["name"].startswith("app/echo")]
    return port


def status_of(mesh: LabHandle, client: str, url: str) -> str:
    """The status of the answer; `refused` where there is no connection, or it ends without an answer."""
    done = mesh.exec(client, *ASK, url, check=False)
    return "refused" if done.returncode in REFUSED else done.stdout


def test_control_a_slice_of_one_s_own_is_followed(mesh: LabHandle) -> None:
    server = next(pod for pod in mesh.status()["pods"] if pod["pod"].startswith("app/v1"))["addresses"][0]
    text = DEPUTY.format(address=server, port=8080, kind="IPv4")
    mesh.apply(text)
    mesh.wait_for("it answers", lambda: status_of(mesh, OTHER_CLIENT, "http://deputy/") == "200")
    mesh.delete(text)
    settle(mesh, lambda status: all(route["name"] != "deputy" for route in status["routes"]))


@pytest.mark.parametrize(
    "deputy",
    [
        ("127.0.0.1", PORT),
        ("169.254.169.254", 80),
        (WAYPOINT, PORT),
        ("0.0.0.0", PORT),
        ("::ffff:127.0.0.1", PORT),
        (f"::ffff:{WAYPOINT}", PORT),
    ],
    ids=str,
    indirect=True,
)
def test_the_waypoint_goes_to_no_address_of_its_own_for_a_route(deputy: LabHandle) -> None:
    assert deputy.exec(OTHER_CLIENT, "curl", "-sS", "-m", "5", "http://deputy/").stdout == "no healthy upstream"
    (warning,) = [text for text in deputy.status()["warnings"] if "Service other/deputy" in text]
    assert "endpoints[0].addresses[0]" in warning


def slice_to_waypoint(mesh: LabHandle, port: int) -> str:
    """A Service in no mesh with a listener of the waypoint as its endpoint; no Route."""
    text = DEPUTY.format(address=WAYPOINT, port=port, kind="IPv4").rpartition("---")[0]
    mesh.apply(text)
    message = "is not used: it is an address of this node's waypoint"
    mesh.wait_for("the agent has seen it", lambda: any(message in text for text in mesh.status()["warnings"]))
    return text


def test_a_slice_is_no_way_to_a_listener(mesh: LabHandle) -> None:
    """For an enrolled pod the kernel refuses; who is not goes kube-proxy's way, and is not on the allow list."""
    text = slice_to_waypoint(mesh, listener_port(mesh))
    assert status_of(mesh, CLIENT, "http://deputy.other/") == "refused"
    # The lab's kube-proxy takes a moment: until then nobody has the address.
    mesh.wait_for("it is refused", lambda: status_of(mesh, OUTSIDER, "http://deputy.other/") == "refused")
    mesh.delete(text)


def test_translation_in_its_own_network_namespace_takes_nobody_into_the_mesh(mesh: LabHandle) -> None:
    netns = netns_of(mesh, OUTSIDER)
    rules = FORWARD.format(elsewhere=ELSEWHERE, waypoint=WAYPOINT, port=listener_port(mesh))
    subprocess.run(["ip", "netns", "exec", netns, "nft", "-f", "-"], input=rules, text=True, check=True)
    assert status_of(mesh, OUTSIDER, f"http://{ELSEWHERE}/") == "refused"
    assert status_of(mesh, OUTSIDER, "http://echo.app/") == "200"
