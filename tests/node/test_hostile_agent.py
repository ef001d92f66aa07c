"""Every hostile document at once in the directory of a running agent: it tells of each and serves as before."""

import json
import shutil

import pytest

from support.hostile import Hostile, hostile_documents, namespace_of
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

MANIFEST = """
{apiVersion: v1, kind: Namespace, metadata: {name: app, labels: {weft.dev/mode: l7}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: good, namespace: app}
spec:
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec: {containers: [{name: echo, image: weft/echo, args: [--http, "8080"]}]}
---
apiVersion: v1
kind: Service
metadata: {name: good, namespace: app}
spec:
  selector: {app: good}
  clusterIP: 10.96.0.1
  ports: [{name: http, port: 80, targetPort: 8080}, {name: plain, port: 81, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {clusterIP: 10.96.0.2, selector: {app: good}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: good, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: good, port: 80}]
  rules: [{backendRefs: [{name: good, port: 80}]}]
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    """A Service with a Route, and one that hostile Routes want."""
    manifest = tmp_path_factory.mktemp("hostile") / "good.yaml"
    manifest.write_text(MANIFEST)
    return make_lab("hostile", [manifest], agent=True)


def good(status):
    """What the agent says of the good objects."""
    frontends = [item for item in status["frontends"] if item["service"] == "app/good"]
    return frontends, [item for item in status["routes"] if item["name"] == "good"], status["pods"]


def reported(status):
    """Everything that users are told in status, as text."""
    conditions = [
        f"{route['kind']} {route['namespace']}/{route['name']}"
        for route in status["routes"]
        for parent in route["parents"]
        if any((c["type"] == "PartiallyInvalid") == (c["status"] == "True") for c in parent["conditions"])
    ]
    return conditions, status["problems"] + status["warnings"]


def names(document: Hostile) -> str:
    """What a record of this document's object is found by, when it has a name."""
    try:
        value = json.loads(document.text)
        return f"{value['kind']} {namespace_of(value['kind'])}/{value['metadata']['name']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def test_a_running_agent_is_not_hurt(mesh: LabHandle):
    documents = [document for document in hostile_documents() if not document.harmless]
    settle(
        mesh, lambda status: all("waypoint" in (f["l7"], f["l4"]) for f in good(status)[0] if ":80/" in f["frontend"])
    )
    before, agent = good(mesh.status()), mesh.paths.pidfile("agent").read_text()
    folder = mesh.paths.manifests / "hostile"
    hidden = folder.with_name(".hostile")
    hidden.mkdir()
    for number, document in enumerate(documents):
        (hidden / f"{number:04}.{'json' if document.is_json else 'yaml'}").write_text(document.text)
    hidden.rename(folder)
    mesh.wait_for("all are told of", lambda: sum(map(len, reported(mesh.status()))) >= len(documents))
    conditions, lines = reported(mesh.status())
    text = "\n" + "\n".join(lines)
    for number, document in enumerate(documents):
        name = names(document)
        here = text.count(f"/hostile/{number:04}.") + conditions.count(name) + text.count(f"\n{name}: ")
        assert here == 1, document
    assert good(mesh.status()) == before
    assert mesh.curl("app/good", "http://good.app/")["namespace"] == "app"
    assert mesh.curl("app/good", "http://good.app:81/")["namespace"] == "app"
    shutil.rmtree(folder)
    mesh.wait_for("nothing is told of any more", lambda: reported(mesh.status()) == ([], []))
    assert good(mesh.status()) == before
    assert mesh.paths.pidfile("agent").read_text() == agent
    assert mesh.agent_runs()
