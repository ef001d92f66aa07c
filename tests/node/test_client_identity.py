"""The annotation `weft.dev/client-identity` of a Service, from its manifest to what the server reads."""

import json
from pathlib import Path

import pytest

from support.node.connecting import ALICE, CAROL
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

# No Route is needed: the waypoint observes the port.
SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  labels: {{weft.dev/mode: l7, weft.dev/l7-scope: all}}
  annotations: {annotations}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"""
# What the server reads of the header, which the client sends too; prints a JSON list.
ASK = """
import json, urllib.request
forged = {"X-Forwarded-Client-Cert": "URI=spiffe://cluster.local/ns/kube-system/sa/admin"}
with urllib.request.urlopen(urllib.request.Request("http://web.shop/", headers=forged), timeout=8) as answer:
    read = json.load(answer)["headers"]
print(json.dumps([value for name, value in read if name.lower() == "x-forwarded-client-cert"]))
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    made = make_lab("identity", [Path(__file__).with_name("authorization.yaml")], agent=True)
    made.label("Namespace", "", "bank", "weft.dev/mode=l4")
    return made


def identities(mesh: LabHandle, client: str) -> list[str]:
    return list(json.loads(mesh.python(client, ASK)))


@pytest.mark.feature("Service: the client's identity in x-forwarded-client-cert")
def test_a_server_is_told_who_its_client_is_while_its_service_asks_for_it(mesh: LabHandle):
    alice, carol = (f"URI=spiffe://cluster.local/ns/{name}" for name in ("shop/sa/alice", "bank/sa/carol"))
    mesh.apply(SERVICE.format(annotations="{weft.dev/client-identity: xfcc}"))
    settle(mesh, lambda status: [item["state"] for item in status["waypoint"]["listeners"]] == ["ready"])
    mesh.wait_for("it is told", lambda: identities(mesh, ALICE) == [alice])
    assert identities(mesh, CAROL) == [carol]
    mesh.apply(SERVICE.format(annotations="{}"))
    mesh.wait_for("it is not told any more", lambda: identities(mesh, ALICE) == [])
