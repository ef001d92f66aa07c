"""A Service whose endpoints tests edit by hand, and clients that use it all the time."""

import collections
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from agent.lab import lifecycle
from agent.lab.patience import patient
from support import TESTS
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.node.programs import PROGRAMS

ADDRESS, TCP, UDP = "10.96.8.8", 9090, 9091
KINDS = ("tcp new", "tcp kept", "udp new", "udp kept", "udp unconnected")
SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: steady, namespace: app}}
spec:
  clusterIP: {ADDRESS}
  ports:
  - {{name: tcp, port: {TCP}}}
  - {{name: udp, port: {UDP}, protocol: UDP}}
"""


def all_in_l4(make_lab: LabFactory, suffix: str) -> LabHandle:
    """A lab with the pods of the HTTP tests, in mode l4."""
    lab = make_lab(suffix, [TESTS / "node" / "routes.yaml"], agent=True)
    for namespace in ("app", "other"):
        lab.label("Namespace", "", namespace, "weft.dev/mode=l4")
    settle(lab, lambda status: {"l4", "none"} == {pod["mode"] for pod in status["pods"]})
    return lab


def addresses(mesh: LabHandle) -> list[str]:
    """The pods v1 and v2."""
    pods = {pod["pod"]: pod["addresses"][0] for pod in mesh.status()["pods"]}
    return [address for name, address in sorted(pods.items()) if name.startswith(("app/v1-", "app/v2-"))]


def endpoints(hosts: Iterable[str]) -> str:
    """The Service's EndpointSlice."""
    listed = ", ".join(f"{{addresses: [{host}]}}" for host in hosts)
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: steady-1, namespace: app, labels: {{kubernetes.io/service-name: steady}}}}
addressType: IPv4
ports: [{{name: tcp, port: {TCP}}}, {{name: udp, port: {UDP}, protocol: UDP}}]
endpoints: [{listed}]
"""


def serve(mesh: LabHandle) -> None:
    """Make the Service, and wait until the kernel has it."""
    mesh.apply(SERVICE + "---" + endpoints(addresses(mesh)))
    mesh.wait_for("the Service is in the kernel", lambda: len(frontends(mesh)) == 2)


def frontends(mesh: LabHandle) -> list[Any]:
    """The Service's frontends that forward to something."""
    found = mesh.status()["frontends"]
    return [item for item in found if item["service"] == "app/steady" and item["l4"] == "kernel"]


@contextmanager
def load(mesh: LabHandle, clients: Iterable[str]) -> Iterator[collections.Counter[str]]:
    """Run clients while the body runs. Their counts are complete at the end. Fails when an exchange failed."""
    argv = [sys.executable, str(PROGRAMS / "l4_load.py"), ADDRESS, str(TCP), str(UDP)]
    running = []
    for client in clients:
        command, environment = lifecycle.exec_command(mesh.paths, client, argv)
        started = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(started)
    total: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "begun\n"
        yield total
    finally:
        for process in running:
            found = json.loads(process.communicate("stop\n", timeout=patient(60))[0])
            total.update(found["counts"])
            failures += found["failures"]
    assert failures == []
    assert min(total[kind] for kind in KINDS) > 100
