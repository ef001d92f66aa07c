"""`weft.dev/client-identity: proxy-protocol` on a Service, from its manifest to what the server reads."""

import json
import sys
from typing import Any

import pytest

from support.node.connecting import ALICE, CAROL
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.node.programs import PROGRAMS

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

# It does not go through the waypoint.
DAVE = "plain/dave"
NAMESPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mode: l7}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {weft.dev/mode: l4}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
"""
DEPLOYMENT = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: main, command: {command}}}]}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop, annotations: {annotations}}}
spec:
  selector: {{app: web}}
  ports: [{{name: tls, port: 443, targetPort: 9443}}]
"""
ROUTE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: tls, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 443}]
  rules: [{backendRefs: [{name: web, port: 443}]}]
"""
# What the server reads of a TLS client; prints a JSON object, to which the client's own address is added.
ASK = """
import json, socket, ssl
hello = ssl.MemoryBIO()
try:
    ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="web.shop").do_handshake()
except ssl.SSLWantReadError:
    pass
with socket.create_connection(("web.shop", 443), timeout=8) as client:
    client.sendall(hello.read())
    with client.makefile() as answer:
        print(json.dumps({**json.loads(answer.readline()), "own": client.getsockname()[0]}))
"""


def deployment(where: str, *command: str) -> str:
    """A pod with one container, whose service account has the pod's name."""
    namespace, name = where.split("/")
    return DEPLOYMENT.format(name=name, namespace=namespace, command=json.dumps(command))


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    server = deployment("shop/web", sys.executable, str(PROGRAMS / "proxy_protocol_server.py"), "9443")
    clients = (deployment(name, "sleep", "infinity") for name in (ALICE, CAROL, DAVE))
    manifest = tmp_path_factory.mktemp("proxied") / "mesh.yaml"
    annotated = SERVICE.format(annotations="{weft.dev/client-identity: proxy-protocol}")
    parts = (NAMESPACES, server, *clients, "---", annotated, ROUTE)
    manifest.write_text("".join(parts))
    lab = make_lab("proxied", [manifest], agent=True)
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 1)
    return lab


def seen_of(mesh: LabHandle, client: str) -> Any:
    return json.loads(mesh.python(client, ASK))


@pytest.mark.feature("Service: the client's identity by the PROXY protocol")
def test_a_server_of_bytes_is_told_who_its_client_is_while_its_service_asks_for_it(mesh: LabHandle) -> None:
    expected = {ALICE: "spiffe://cluster.local/ns/shop/sa/alice", CAROL: "spiffe://cluster.local/ns/bank/sa/carol"}
    for client, identity in expected.items():
        mesh.wait_for("it is told", lambda client=client: seen_of(mesh, client)["source"] is not None)
        found = seen_of(mesh, client)
        assert (found["source"][0], found["tlvs"]) == (found["own"], [[0xE5, identity]])
    mesh.apply(SERVICE.format(annotations="{}"))
    mesh.wait_for("it is not told any more", lambda: seen_of(mesh, ALICE)["source"] is None)
    mesh.apply(SERVICE.format(annotations="{weft.dev/client-identity: proxy-protocol}"))
    mesh.wait_for("it is told again", lambda: seen_of(mesh, CAROL)["tlvs"] == [[0xE5, expected[CAROL]]])


def test_without_the_waypoint_there_is_no_header(mesh: LabHandle) -> None:
    """`weft status` names the connections of the Service that have none."""
    found = seen_of(mesh, DAVE)
    assert (found["source"], found["peer"].removeprefix("::ffff:")) == (None, found["own"])
    warnings = [text for text in mesh.status()["warnings"] if "client-identity" in text]
    assert warnings == []
    mesh.label("Namespace", "", "shop", "weft.dev/mode=l4")
    mesh.wait_for("the kernel has it", lambda: seen_of(mesh, ALICE)["source"] is None)
    warnings = [text for text in mesh.status()["warnings"] if "client-identity" in text]
    assert warnings == [
        "Service shop/web: metadata.annotations[weft.dev/client-identity]: connections of clients that are not in mode"
        " l7 have no header of the PROXY protocol: the Service is in mode l4"
    ]
    mesh.label("Namespace", "", "shop", "weft.dev/mode=l7")
    mesh.wait_for("the waypoint has it", lambda: seen_of(mesh, ALICE)["source"] is not None)
