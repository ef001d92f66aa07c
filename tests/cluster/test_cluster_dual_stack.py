"""A cluster of both IP families: pods reach a routed Service at either of its cluster IPs, through the waypoint."""

import json
import os
import subprocess
from collections.abc import Iterator

import cluster
import install
import installed
import load
import pytest
import weft_image
from installed import UP
from weft_processes import until

pytestmark = [pytest.mark.cluster, pytest.mark.machines]

SPACE = "dual"
MANIFESTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {SPACE}, labels: {{weft.dev/mode: l7}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {SPACE}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {{matchLabels: {{app: web}}}}
      containers:
        - name: echo
          image: {weft_image.NAME}:{weft_image.tag()}
          imagePullPolicy: Never
          command: [{load.PYTHON}, -m, agent.lab.echo, --http, "8080"]
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {SPACE}}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: {SPACE}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, port: 80}}]
  rules:
  - backendRefs: [{{name: web, port: 80}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-way, value: waypoint}}]}}}}]
"""
# Each connection of its own; prints the values of the Route's header, null where there is none.
ASK = """
import http.client, json, sys
found = []
for _ in range(20):
    connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    found.append(answer.headers["x-way"])
print(json.dumps(found))
"""


def kubectl(*arguments: str) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments)


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, str]]:
    """The cluster IPs of a Service with a Route, by family."""
    subprocess.run(UP, check=True, env={**os.environ, "IP_FAMILY": "dual"})
    try:
        install.install()
        cluster.kubectl("apply", "-f", "-", stdin=MANIFESTS)
        kubectl("rollout", "status", "--timeout=120s", "deployment/web")
        spec = json.loads(kubectl("get", "service", "web", "--output=json"))["spec"]
        yield dict(zip(spec["ipFamilies"], spec["clusterIPs"], strict=True))
    finally:
        cluster.down()


def ways(pod: str, address: str) -> list[str | None]:
    """The Route's header in 20 answers; empty when a connection failed."""
    try:
        found: list[str | None] = json.loads(kubectl("exec", pod, "--", load.PYTHON, "-c", ASK, address))
    except subprocess.CalledProcessError:
        return []
    return found


def test_waypoints_have_an_address_of_each_family(service: dict[str, str]) -> None:
    for node in cluster.NODES:
        addresses = [item["ip"] for item in installed.pod("weft-waypoint", node.name)["status"]["podIPs"]]
        assert len(addresses) == 2
        until("the agent has both", lambda n=node.name, a=addresses: installed.status(n)["waypoint"]["addresses"] == a)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_pods_of_both_nodes_have_the_route_in_each_family(service: dict[str, str], family: str) -> None:
    items = json.loads(kubectl("get", "pods", "--selector=app=web", "--output=json"))["items"]
    pods = {item["spec"]["nodeName"]: item["metadata"]["name"] for item in items}
    assert len(pods) == len(cluster.NODES)
    for pod in pods.values():
        until("the Route applies", lambda pod=pod: ways(pod, service[family]) == ["waypoint"] * 20)
