"""Real programs through the kernel: runtimes with sockets of their own kind, and tools that people use."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import packages
import pytest

from agent.lab import lifecycle
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, settle

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
ADDRESS = "10.96.9.9"
SERVERS = "app/v1"
SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: all, namespace: app}}
spec:
  clusterIP: {ADDRESS}
  selector: {{app: echo, version: v1}}
  ports:
  - {{name: http, port: 80, targetPort: 8080}}
  - {{name: tcp, port: 9000, targetPort: 9090}}
  - {{name: udp, port: 9001, targetPort: 9091, protocol: UDP}}
  - {{name: iperf, port: 5000, targetPort: 5201}}
  - {{name: iperf-udp, port: 5000, targetPort: 5201, protocol: UDP}}
  - {{name: dns, port: 53, targetPort: 5353, protocol: UDP}}
  - {{name: dns-tcp, port: 53, targetPort: 5353}}
"""
NAMES = """
from dnslib import RR, A, QTYPE
from dnslib.server import BaseResolver, DNSServer
class Resolver(BaseResolver):
    def resolve(self, request, handler):
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("192.0.2.7"), ttl=0))
        return reply
for tcp in (False, True):
    DNSServer(Resolver(), port=5353, address="0.0.0.0", tcp=tcp).start_thread()
print("ready", flush=True)
import time
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests in mode l4, and one Service with all ports."""
    lab = make_lab("programs", [HERE / "routes.yaml"], agent=True)
    lab.label("Namespace", "", "app", "weft.dev/mode=l4")
    lab.apply(SERVICE)
    settle(lab, lambda status: sum(item["service"] == "app/all" for item in status["frontends"]) == 7)
    return lab


@contextmanager
def running(mesh: LabHandle, *argv: str) -> Iterator[None]:
    """A server in the pod behind the Service; it has said something, so it serves."""
    command, environment = lifecycle.exec_command(mesh.paths, SERVERS, argv)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()
        yield
        process.terminate()


def answers(text: str) -> list[tuple[str, str]]:
    """Lines of an address and the echo server's answer: the address, and which server."""
    parts = (line.partition(" ") for line in text.splitlines())
    return [(address, json.loads(body)["pod"].split("-")[0]) for address, _, body in parts]


def test_java(mesh: LabHandle) -> None:
    client = str(HERE / "programs" / "Client.java")
    tcp, *udp = answers(mesh.exec(CLIENT, "java", client, ADDRESS, "9000", "9001").stdout)
    assert tcp == (f"/{ADDRESS}:9000", "v1")
    assert udp == [(f"/{ADDRESS}:9001", "v1")] * 2


def test_go(mesh: LabHandle, tmp_path: Path) -> None:
    client = tmp_path / "client"
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    command = [packages.go(), "build", "-o", client, "."]
    subprocess.run(command, cwd=HERE / "programs" / "client", env=environment, check=True)
    found = answers(mesh.exec(CLIENT, str(client), ADDRESS, "9000", "9001").stdout)
    assert found == [(f"{ADDRESS}:9000", "v1"), (f"{ADDRESS}:9001", "v1"), (f"{ADDRESS}:9001", "v1")]


def test_curl_shows_the_service(mesh: LabHandle) -> None:
    shown = ("-sS", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip} %{remote_port}")
    assert mesh.exec(CLIENT, "curl", *shown, f"http://{ADDRESS}/").stdout == f"200 {ADDRESS} 80"


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig(transport: str, mesh: LabHandle) -> None:
    """dig refuses answers that do not come from where it asked."""
    with running(mesh, sys.executable, "-c", NAMES):
        printed = mesh.exec(CLIENT, "dig", f"@{ADDRESS}", transport, "+tries=1", "some.name").stdout
    assert "192.0.2.7" in printed
    assert f"SERVER: {ADDRESS}#53" in printed


@pytest.mark.parametrize("options", [(), ("-u", "-b", "20M"), ("-P", "4"), ("-R",)], ids=["tcp", "udp", "four", "back"])
def test_iperf3(options: tuple[str, ...], mesh: LabHandle) -> None:
    """A control connection and streams, which must reach one server."""
    with running(mesh, "iperf3", "-s", "--forceflush"):
        client_argv = ("iperf3", "-c", ADDRESS, "-p", "5000", "-t", "1", "-J", *options)
        end = json.loads(mesh.exec(CLIENT, *client_argv).stdout)["end"]
    total = end.get("sum_received") or end["sum"]
    assert total["bytes"] > 100_000
