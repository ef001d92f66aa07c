"""Clients that connect to a protected server, `web` in the namespace `shop`, and its policy."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agent.lab import lifecycle
from agent.lab.patience import patient
from support.node.lab_handle import LabHandle
from support.node.mesh import settle

ALICE, BOB, CAROL = CLIENTS = ("shop/alice", "shop/bob", "bank/carol")
HTTP, TCP = 8080, 9090
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: web, namespace: shop}}
spec:
  targetRefs: [{{kind: Pod, selector: {{matchLabels: {{app: web}}}}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: {rules}
"""
# The errnos of all attempts of a client.
ADMITTED, REFUSED = frozenset({0}), frozenset({errno.ECONNREFUSED})
# Connects, and prints 0 or the errno; a refusal that takes long is one that the client waits for.
CONNECT = """
import socket, sys
for host, port in {targets}:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        client.settimeout(5)
        print(client.connect_ex((host, port)))
"""
# Connects until it is told to end, and prints how often it was admitted, and each errno.
KEEP_CONNECTING = """
import socket, sys, threading, time, json
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("begun", flush=True)
found = []
while not ended.is_set():
    with socket.socket() as client:
        client.settimeout(2)
        found.append(client.connect_ex(("{host}", {port})))
    time.sleep(0.005)
print(json.dumps(found))
"""
# Sends requests on one connection until it is told to end, and then until the answer is the wanted one; prints each
# status. Where the connection ends it prints that, and goes on with another one. A worker of Envoy uses a route table
# some time after Envoy has acknowledged it, because the main thread, which acknowledges, only queues it for the
# workers.
KEEP_ASKING = """
import http.client, json, sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
connection = http.client.HTTPConnection("web.shop", 80, timeout=8)
# http.client would make another connection when this one has ended.
connection.auto_open = 0
connection.connect()
print("begun", flush=True)
found, tries = [], 500
while tries:
    # The last request begins when all is settled.
    is_settled = ended.is_set()
    try:
        connection.request("GET", "{path}")
        answer = connection.getresponse()
        answer.read()
        found.append(answer.status)
    except (OSError, http.client.HTTPException):
        found.append("ended")
        connection.close()
        connection.connect()
    if is_settled:
        tries = tries - 1 if found[-1] != {wanted} else 0
    time.sleep(0.01)
print(json.dumps(found))
"""


@contextmanager
def running(mesh: LabHandle, client: str, program: str) -> Iterator[list[Any]]:
    """A program that runs in a client meanwhile; what it found is there at the end."""
    command, environment = lifecycle.exec_command(mesh.paths, client, [sys.executable, "-c", program])
    found: list[Any] = []
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        try:
            yield found
        finally:
            found += json.loads(process.communicate(timeout=patient(60))[0])


def server(mesh: LabHandle) -> dict[str, Any]:
    """The server's pod in `weft status`; empty while there is none."""
    return next((pod for pod in mesh.status()["pods"] if pod["pod"].startswith("shop/web-")), {"cgroup": None})


def addresses(mesh: LabHandle) -> list[str]:
    """The addresses of the server's pod."""
    return list(server(mesh)["addresses"])


def service_addresses(mesh: LabHandle) -> list[str]:
    """The cluster IPs of the server's Service."""
    service = mesh.get("Service", "shop", "web")
    assert service is not None
    return list(service["spec"]["clusterIPs"])


def connects(mesh: LabHandle, client: str, port: int = TCP, service_port: int | None = None) -> frozenset[int]:
    """The errnos of a client that connects to the server, to each of its addresses and to each of its Service's."""
    targets = [(host, port) for host in addresses(mesh)]
    targets += [(host, service_port or port) for host in service_addresses(mesh)]
    return frozenset(map(int, mesh.python(client, CONNECT.format(targets=targets)).split()))


def account(name: str, namespace: str = "shop") -> str:
    """A source of a policy, in YAML."""
    return f"{{type: ServiceAccount, serviceAccount: {{namespace: {namespace}, name: '{name}'}}}}"


@contextmanager
def policy_of_server(mesh: LabHandle) -> Iterator[Callable[[str], None]]:
    """Sets the rules of the policy of the server's pod, and waits until they are in force; afterwards there is none."""

    def apply(rules: str) -> None:
        before = policy_set(mesh)
        mesh.apply(POLICY.format(rules=rules))
        settle(mesh, lambda _: policy_set(mesh) not in (None, before))

    yield apply
    mesh.delete(POLICY.format(rules="[]"))
    settle(mesh, lambda status: not status["protectedPods"])


def policy_set(mesh: LabHandle) -> str | None:
    """The policy set of the server's pod; None where no policy selects it."""
    return next((pod["policySet"] for pod in mesh.status()["protectedPods"]), None)
