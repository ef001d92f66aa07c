"""TCPRoutes and UDPRoutes in the kernel, and who may reach the waypoint, with real pods."""

import json
import re
import subprocess
from errno import ECONNREFUSED, EPERM
from typing import Any

import pytest

from agent.lab import lifecycle
from support.node.l4_mesh import all_in_l4
from support.node.l4_route import TCP, l4_route
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OUTSIDER, settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

UDP = """
import collections, json, socket, time
found = collections.Counter()
for _ in range({count}):
    family = socket.getaddrinfo("echo.app", {port}, type=socket.SOCK_DGRAM)[0][0]
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect(("echo.app", {port}))
        s.send(b"x")
        found[json.loads(s.recv(4096))["pod"].split("-")[0]] += 1
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, in mode l4."""
    return all_in_l4(make_lab, "lfour")


def counted(mesh: LabHandle, manifest: str, program: str) -> dict[str, int]:
    """Who answered while a Route was there."""
    mesh.apply(manifest)
    settle(mesh, lambda status: bool(status["routes"]))
    try:
        found: dict[str, int] = json.loads(mesh.python(CLIENT, program))
        return found
    finally:
        mesh.delete(manifest)
        settle(mesh, lambda status: not status["routes"])


def test_tcproute_weights(mesh):
    found = counted(mesh, l4_route("TCPRoute", 9090, ("v1", 90), ("v2", 10)), TCP.format(count=2000, port=9090))
    assert set(found) == {"v1", "v2"}
    assert 1731 <= found["v1"] <= 1862  # 2000 at 90 %: two-sided bounds at 1e-6


def test_a_missing_backend_s_share_is_refused(mesh):
    found = counted(mesh, l4_route("TCPRoute", 9090, ("v1", 1), ("nobody", 1)), TCP.format(count=600, port=9090))
    assert set(found) == {"v1", "ConnectionRefusedError"}
    assert 240 <= found["v1"] <= 360  # 600 at 50 %: two-sided bounds at 1e-6


def test_udproute_weights(mesh):
    found = counted(mesh, l4_route("UDPRoute", 9091, ("v1", 80), ("v2", 20)), UDP.format(count=2000, port=9091))
    assert set(found) == {"v1", "v2"}
    assert 1510 <= found["v1"] <= 1685  # 2000 at 80 %: two-sided bounds at 1e-6


def test_no_endpoint_refuses_at_once(mesh):
    dial = "import socket\ntry: socket.create_connection(('empty.app', 80), 5)\nexcept OSError as e: print(e.errno)"
    assert mesh.python(CLIENT, dial).strip() == str(ECONNREFUSED)


def test_nobody_dials_the_waypoint(mesh):
    listener = mesh.waypoints["weft-waypoint"], 20000
    dial = f"import socket\ntry: socket.create_connection({listener}, 5)\nexcept OSError as e: print(e.errno)"
    assert {mesh.python(client, dial).strip() for client in (CLIENT, OUTSIDER)} == {str(EPERM)}


def syn_destination(mesh: LabHandle, client: str) -> str:
    """To which address the first packet of a connection goes, as the node sees it."""
    source = next(pod["addresses"][0] for pod in mesh.status()["pods"] if pod["pod"].startswith(client))
    # pcap's `tcp[...]` means IPv4 only; byte 13 of the header has the flags (RFC 9293), and SYN is 2.
    syn = "(tcp[13] == 2 or ip6[40 + 13] == 2)"
    command = ["timeout", "10", "tcpdump", "-lnn", "-c", "1", "-i", "any", f"src {source} and tcp and {syn}"]
    with subprocess.Popen(
        lifecycle.node_command(mesh.paths, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as capture:
        assert capture.stderr
        while "listening on" not in capture.stderr.readline():
            pass
        mesh.exec(client, "curl", "-sS", "-o", "/dev/null", "http://v1.app/")
        out, _ = capture.communicate(timeout=15)
    found = re.search(r"> ([0-9a-f.:]+)\.\d+:", out)
    assert found, out
    return found[1]


def test_an_enrolled_pod_s_syn_carries_the_pod_address_and_another_s_the_cluster_address(mesh):
    service: Any = mesh.get("Service", "app", "v1")
    pod = next(p["addresses"][0] for p in mesh.status()["pods"] if p["pod"].startswith("app/v1-"))
    assert syn_destination(mesh, CLIENT) == pod
    assert syn_destination(mesh, OUTSIDER) == service["spec"]["clusterIP"]


def test_a_label_that_is_no_mode_is_reported_and_is_as_no_label(mesh):
    def modes(status):
        return {pod["mode"] for pod in status["pods"] if pod["pod"].startswith("app/")}

    mesh.label("Namespace", "", "app", "weft.dev/mode=l5")
    settle(mesh, lambda status: any("'l5' is none of none, l4, l7" in it for it in status["warnings"]))
    assert modes(mesh.status()) == {"none"}
    mesh.label("Namespace", "", "app", "weft.dev/mode=l4")
    settle(mesh, lambda status: not status["warnings"] and modes(status) == {"l4"})


def test_metrics_health_and_readiness_answer_on_the_node_s_loopback(mesh):
    mesh.python(CLIENT, TCP.format(count=20, port=9090))
    metrics = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout
    assert re.search(r'weft_decisions_total\{reason="forwarded",verdict="forward"\} [1-9]', metrics)
    assert mesh.node("curl", "-sS", "http://127.0.0.1:9464/readyz").stdout == "ready\n"
    assert mesh.node("curl", "-sS", "http://127.0.0.1:9464/healthz").stdout == "ok\n"
