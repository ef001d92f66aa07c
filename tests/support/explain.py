"""Manifests as people write them: no uids, no cluster IPs, no status."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from agent.cli.main import application

MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: app, labels: {weft.dev/mode: l7}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mode: l4}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {ports: [{name: http, port: 80}, {name: db, port: 5432, appProtocol: postgres}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: app, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: db, port: 5432}]
endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
SPECIAL = """
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: app}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: app}
spec: {type: ExternalName, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: own, namespace: plain, labels: {weft.dev/mode: l7}}
spec: {nodeName: east-1}
status: {phase: Running, podIP: 10.1.0.9}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: app}
status: {phase: Succeeded}
"""


def write(folder: Path, **files: str) -> Path:
    """A folder of manifests, each file named without `.yaml`."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def weft(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(application([str(arguments[0])]), [str(item) for item in arguments])


def simulated(folder: Path, pod: str, url: str, *options: str, method: str = "GET") -> dict[str, Any]:
    """The document of `weft simulate` for a request of a pod."""
    done = weft("simulate", "-f", folder, "--from", pod, method, url, "-o", "json", *options)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def deployment(name: str, account: str = "", namespace: str = "app", **spec: Any) -> dict[str, Any]:
    """A Deployment of pods with the label `app`, and with one container that has the port 8080, `http`."""
    pod = {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}], **spec}
    pod |= {"serviceAccountName": account} if account else {}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": template}}


def service(name: str, *ports: Any, namespace: str = "app") -> dict[str, Any]:
    """A Service of the pods with the label `app`."""
    spec = {"selector": {"app": name}, "ports": list(ports)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def manifests(folder: Path, *documents: Any) -> Path:
    """A folder with these documents, in one file."""
    return write(folder, all="\n---\n".join(json.dumps(document) for document in documents))
