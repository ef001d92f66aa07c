"""`weft.dev/l7-scope: all`: HTTP ports without Routes are seen by the waypoint, and nothing else changes for them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ir.http import BackendPort
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OUTSIDER, get, settle
from support.node.request_metrics import counted
from support.waypoint.caller import CALLER
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import any_path, rule, to

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]
SCOPE = "weft.dev/l7-scope"
V1_SAME = BackendPort("app", "v1", 80, "same")
CURL = ("curl", "-sS", "-m", "5")


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.mark.parametrize(
    ("option", "protocol"),
    [("--http1.0", "http/1.1"), ("--http1.1", "http/1.1"), ("--http2-prior-knowledge", "http/2")],
)
def test_the_server_is_spoken_to_as_the_client_speaks(node, option, protocol):
    port = node.serve(rule(any_path(), to(V1_SAME)))
    answer = node.run(*CURL, option, f"http://127.0.0.2:{port}/x")
    assert json.loads(answer.splitlines()[0])["protocol"] == protocol


def test_a_websocket_is_passed_on(node):
    port = node.serve(rule(any_path(), to(V1_SAME)))
    request = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping"
    answer = node.raw(port, request, until=b"ping")
    assert answer.startswith(b"HTTP/1.1 101 ")


def test_headers_arrive_as_they_were_sent(node):
    sent = [("Host", "App:80"), ("X-MiXed-CaSe", "1"), ("X-Forwarded-Proto", "https"), ("X-Request-Id", "mine")]
    answer = node.ask(node.serve(rule(any_path(), to(V1_SAME))), host=sent[0][1], headers=sent[1:])
    assert sorted(map(tuple, answer.seen["headers"])) == sorted(sent)


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, without a Route, and a namespace whose requests are all to be seen."""
    lab = make_lab("scope", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.label("Namespace", "", "app", f"{SCOPE}=all")
    settle(lab, lambda status: any(item["name"] == "app/echo:80" for item in status["waypoint"]["listeners"]))
    return lab


def source(mesh: LabHandle, client: str, url: str = "http://echo.app/") -> str:
    """From which address a server sees a client."""
    return str(get(mesh, url, client=client).seen["peer"]).rpartition(":")[0].strip("[]")


def waypoint(mesh: LabHandle) -> str:
    return mesh.waypoints["weft-waypoint"]


def test_an_http_port_without_a_route_goes_through_the_waypoint_and_is_counted(mesh):
    labels = {"source_workload": "client", "route": "none", "rule": "unrouted", "backend": "app/echo:80"}
    assert source(mesh, CLIENT) == waypoint(mesh)
    mesh.wait_for("it is counted", lambda: counted(mesh, "istio_requests_total", **labels) > 0)
    assert counted(mesh, "istio_requests_total", **labels, response_code="200", destination_service_name="echo") > 0


def test_grpc_works_and_is_counted_as_such(mesh):
    assert mesh.python(CLIENT, CALLER.replace("sys.argv[1:]", '("echo.app:7070", "[]", "/told.Echo/Call")')).strip()
    labels = {"request_protocol": "grpc", "rule": "unrouted", "backend": "app/echo:7070", "grpc_response_status": "0"}
    mesh.wait_for("it is counted", lambda: counted(mesh, "istio_requests_total", **labels) == 1)


def test_other_ports_and_clients_do_not_go_there(mesh):
    listeners = {item["name"] for item in mesh.status()["waypoint"]["listeners"]}
    assert "app/echo:7070" in listeners
    assert listeners.isdisjoint({"app/echo:9090", "app/echo:9091"})
    assert source(mesh, OUTSIDER) != waypoint(mesh)


def test_a_service_s_own_label_takes_it_out_again(mesh):
    mesh.label("Service", "app", "v2", f"{SCOPE}=routes")
    settle(
        mesh,
        lambda status: all(item["listener"] is None for item in status["frontends"] if item["service"] == "app/v2"),
    )
    assert source(mesh, CLIENT, "http://v2.app/") != waypoint(mesh)
    assert source(mesh, CLIENT, "http://v1.app/") == waypoint(mesh)


def kill_waypoint(mesh: LabHandle) -> None:
    """SIGKILL its processes; the kubelet starts it again."""
    pod = next(item for item in mesh.status()["pods"] if item["pod"] == "weft-system/weft-waypoint")
    (cgroup,) = [path for path in mesh.paths.kubepods.rglob("pod*") if path.stat().st_ino == pod["cgroup"]]
    for process in "".join(path.read_text() for path in cgroup.rglob("cgroup.procs")).split():
        os.kill(int(process), signal.SIGKILL)


def test_without_a_waypoint_it_goes_on_in_the_kernel(mesh):
    """Whoever asked to see traffic did not ask to have it refused."""
    seen: list[str] = []

    def is_back() -> bool:
        seen.extend(item["l7"] for item in mesh.status()["frontends"] if item["listener"] == "app/echo:80")
        return "kernel" in seen and seen[-1] == "waypoint"

    mesh.wait_for("it goes there", lambda: source(mesh, CLIENT) == waypoint(mesh))
    kill_waypoint(mesh)
    mesh.wait_for("it went to the kernel and back", is_back)
    assert set(seen) == {"waypoint", "kernel"}
    assert source(mesh, CLIENT) == waypoint(mesh)
