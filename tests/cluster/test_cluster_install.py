"""weft as its users have it: the image, the DaemonSets, a label. Everything is seen by `kubectl exec`."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cluster
import images
import install
import permissions
import pytest
import weft_image
from installed import UP
from weft_processes import until

from agent.model.meta import CONTROLLER_NAME

pytestmark = pytest.mark.cluster

OVERLAYS = sorted((weft_image.ROOT / "daemonset/overlays").iterdir())
SPACE = "shop"
VERSION = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web, version: {name}}}}}
  template:
    metadata: {{labels: {{app: web, version: {name}}}}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {{matchLabels: {{version: {name}}}}}
      containers:
        - name: echo
          image: {image}
          args: [--port=8080]
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{version: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
"""
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""
TCP_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{backendRefs: [{name: v2, port: 80}]}]
"""
OTHER_ROUTES = "---\n".join(
    f"""
apiVersion: gateway.networking.k8s.io/{version}
kind: {kind}
metadata: {{name: other}}
spec:
  parentRefs: [{{group: "", kind: Service, name: v1}}]
  {more}
  rules: [{{backendRefs: [{{name: v2, port: 80}}]}}]
"""
    for kind, version, more in (
        ("GRPCRoute", "v1", ""),
        ("UDPRoute", "v1", ""),
        ("TLSRoute", "v1", "hostnames: [v1.shop]"),
    )
)
HTTP_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
    - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-way, value: waypoint}]}}]
      backendRefs: [{name: v1, port: 80}]
"""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    """A cluster with weft, and in its namespace the versions v1 and v2, each on both nodes, behind the Service web."""
    subprocess.run(UP, check=True)
    try:
        install.install()
        cluster.kubectl("create", "namespace", SPACE)
        made = (VERSION.format(name=name, image=images.ECHO) for name in ("v1", "v2"))
        kubectl("apply", "-f", "-", stdin="".join(made) + WEB)
        for name in ("v1", "v2"):
            kubectl("rollout", "status", "--timeout=60s", f"deployment/{name}")
        yield
    finally:
        cluster.down()


def pods(selector: str) -> list[str]:
    """Names of pods, which are one on each node."""
    items = json.loads(kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    assert len({item["spec"]["nodeName"] for item in items}) == 2
    return sorted(item["metadata"]["name"] for item in items)


def answers(pod: str, count: int = 40) -> tuple[set[str], set[str]]:
    """Who answers requests of a pod, and what the waypoint wrote into the answers; nobody where one failed."""
    try:
        text = kubectl("exec", pod, "--", "client", "http://web/", f"--count={count}", "--timeout=30s")
    except subprocess.CalledProcessError:
        return set(), set()
    return set(re.findall(r"Hostname=(\S+)", text)), set(re.findall(r"ResponseHeader=X-Way:(\w+)", text))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_overlays_build(running: None, overlay: Path) -> None:
    text = cluster.kubectl("kustomize", str(overlay))
    assert Counter(re.findall(r"^kind: (DaemonSet|Deployment)", text, re.MULTILINE)) == {
        "DaemonSet": 2,
        "Deployment": 1,
    }
    assert text.count("--kubepods=") == 1


def test_without_a_label_nothing_changes(running: None) -> None:
    for client in pods("version=v1"):
        until(
            "kube-proxy serves all",
            lambda client=client: answers(client)[0] == {*pods("app=web,version=v1"), *pods("version=v2")},
        )


def test_l4_applies_on_each_node_and_across_them(running: None) -> None:
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4")
    kubectl("apply", "-f", "-", stdin=TCP_ROUTE)
    for client in pods("version=v1"):
        until("the TCPRoute applies", lambda client=client: answers(client) == (set(pods("version=v2")), set()))


def test_l7_applies_on_each_node_and_across_them(running: None) -> None:
    cluster.kubectl("label", "--overwrite", "namespace", SPACE, "weft.dev/mode=l7")
    kubectl("apply", "-f", "-", stdin=HTTP_ROUTE)
    for client in pods("version=v2"):
        until("the HTTPRoute applies", lambda client=client: answers(client) == (set(pods("version=v1")), {"waypoint"}))
    kubectl("wait", "--for=jsonpath={.status.parents[0].conditions[0].type}=Accepted", "httproute/web")


@pytest.mark.parametrize("workload", ["weft-waypoint", "weft-agent"])
def test_no_request_is_lost_while_weft_is_replaced(running: None, workload: str) -> None:
    daemonset = (f"--namespace={install.NAMESPACE}", f"daemonset/{workload}")
    client = pods("version=v2")[0]
    ask = ("exec", client, "--", "client", "http://web/", "--count=2000", "--qps=100", "--timeout=60s")
    cluster.kubectl("rollout", "restart", *daemonset)
    text = kubectl(*ask)
    cluster.kubectl("rollout", "status", "--timeout=120s", *daemonset)
    assert Counter(re.findall(r"StatusCode=(\d+)", text)) == {"200": 2000}
    assert len(re.findall(r"ResponseHeader=X-Way:waypoint", text)) == 2000


def test_no_agent_complains(running: None) -> None:
    text = cluster.kubectl(
        f"--namespace={install.NAMESPACE}", "logs", "--selector=app.kubernetes.io/name=weft-agent", "--tail=-1"
    )
    assert "level=info" in text
    assert not re.findall(r"^.*level=(?:error|warning).*", text, re.MULTILINE)


WEFT_NODE_OF_A_NODE_THAT_IS_GONE = """
apiVersion: weft.dev/v1alpha1
kind: WeftNode
metadata:
  name: gone
  ownerReferences: [{apiVersion: v1, kind: Node, name: gone, uid: 00000000-0000-0000-0000-000000000000}]
"""


def weft_nodes() -> dict[str, str]:
    """The WeftNodes, each with the uid of its owner."""
    listed = json.loads(cluster.kubectl("get", "weftnodes", "--output=json"))["items"]
    return {item["metadata"]["name"]: item["metadata"]["ownerReferences"][0]["uid"] for item in listed}


def test_each_node_has_a_weft_node_that_is_deleted_with_it(running: None) -> None:
    listed = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    nodes = {item["metadata"]["name"]: item["metadata"]["uid"] for item in listed}
    assert len(nodes) == 2
    until("each node has a WeftNode", lambda: weft_nodes() == nodes)
    cluster.kubectl("create", "-f", "-", stdin=WEFT_NODE_OF_A_NODE_THAT_IS_GONE)
    until("the other one is deleted", lambda: weft_nodes() == nodes)


def test_what_weft_may_do_is_what_it_does(running: None) -> None:
    """Everything but to read one object, which is done after a conflict with somebody else's write."""
    kubectl("apply", "-f", "-", stdin=OTHER_ROUTES)
    for kind in ("grpcroute", "udproute", "tlsroute"):
        kubectl("wait", "--for=jsonpath={.status.parents[0].controllerName}=" + CONTROLLER_NAME, f"{kind}/other")
    done = {permission for permission, status in permissions.requested() if status < 400}
    assert {str(permission) for permission, status in permissions.requested() if status == 403} == set()
    assert {str(unused) for unused in permissions.granted() - done if unused.verb != "get"} == set()
