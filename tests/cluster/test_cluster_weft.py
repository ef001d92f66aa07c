"""weft on a real Kubernetes: real kubelets make pods, real controllers make endpoints, a namespace is labelled."""

import json
import re
import subprocess
from collections.abc import Iterator

import cluster
import images
import pytest
import weft_processes
from installed import UP
from weft_processes import Agent, until

from agent.model.meta import CONTROLLER_NAME

# The agents are processes of this machine.
pytestmark = [pytest.mark.cluster, pytest.mark.machines]

SPACE = "mesh"
VERSION = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, all: echo}}}}
    spec:
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
  selector: {{{selector}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
"""
ONE_CONNECTION = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{first: connection}}}}
spec:
  restartPolicy: Never
  containers:
    - name: client
      image: {image}
      command: [client, "http://{address}/", --count=1]
---
"""
FIRSTS = 10
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: echo}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules: [{backendRefs: [{name: v2, port: 80}]}]
"""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Agent]]:
    """A cluster with agents and a controller, and in its namespace the versions v1 and v2 behind the Service echo."""
    subprocess.run(UP, check=True)
    try:
        with weft_processes.agents() as agents, weft_processes.controller():
            cluster.kubectl("create", "namespace", SPACE)
            names = (("v1", 2, "app: v1"), ("v2", 1, "app: v2"), ("echo", 0, "all: echo"))
            made = (VERSION.format(name=n, replicas=r, selector=s, image=images.ECHO) for n, r, s in names)
            kubectl("apply", "-f", "-", stdin="".join(made))
            for name in ("v1", "v2"):
                kubectl("rollout", "status", "--timeout=60s", f"deployment/{name}")
            yield agents
    finally:
        cluster.down()


def pods(app: str) -> dict[str, str]:
    """The nodes of an application's pods, by the pods' names."""
    items = json.loads(kubectl("get", "pods", f"--selector={app}", "--output=json"))["items"]
    return {item["metadata"]["name"]: item["spec"]["nodeName"] for item in items}


def answers(pod: str) -> set[str]:
    """The pods that answer 40 requests, each on a connection of its own; none when a request failed."""
    try:
        text = kubectl("exec", pod, "--", "client", "http://echo/", "--count=40", "--new-connection-per-request")
    except subprocess.CalledProcessError:
        return set()
    return set(re.findall(r"Hostname=(\S+)", text))


def enrolled(agents: dict[str, Agent]) -> dict[str, str]:
    """Modes by pod in the namespace, of all nodes."""
    found = {pod: mode for agent in agents.values() for pod, mode in agent.pods().items()}
    return {pod.partition("/")[2]: mode for pod, mode in found.items() if pod.startswith(f"{SPACE}/")}


def test_every_pod_is_known_to_its_node_s_agent(running: dict[str, Agent]) -> None:
    where = pods("all=echo")
    until("pods known", lambda: enrolled(running) == dict.fromkeys(where, "none"))
    for agent in running.values():
        mine = {f"{SPACE}/{name}" for name, node in where.items() if node == agent.node}
        assert mine == {name for name in agent.pods() if name.startswith(f"{SPACE}/")}


def test_a_route_applies_to_a_namespace_from_its_label_to_its_removal(running: dict[str, Agent]) -> None:
    where = pods("all=echo")
    client = next(iter(pods("app=v1")))
    until("kube-proxy serves all", lambda: answers(client) == set(where))
    kubectl("apply", "-f", "-", stdin=ROUTE)
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4")
    until("enrolled", lambda: enrolled(running) == dict.fromkeys(where, "l4"))
    until("the Route applies", lambda: answers(client) == set(pods("app=v2")))
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode-")
    until("no mesh again", lambda: answers(client) == set(where))
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4")


def test_a_pod_s_first_connection_is_in_the_mesh(running: dict[str, Agent]) -> None:
    """Pods that connect as the first thing that they do: kube-proxy would send a third of them to v2."""
    kubectl("apply", "-f", "-", stdin=ROUTE)
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4", "--overwrite")
    client = next(iter(pods("app=v1")))
    until("the Route applies", lambda: answers(client) == set(pods("app=v2")))
    address = kubectl("get", "service", "echo", "--output=jsonpath={.spec.clusterIP}")
    made = [ONE_CONNECTION.format(name=f"first-{n}", image=images.ECHO, address=address) for n in range(FIRSTS)]
    kubectl("apply", "-f", "-", stdin="".join(made))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod", "--selector=first=connection")
    text = kubectl("logs", "--selector=first=connection", "--tail=-1")
    kubectl("delete", "pod", "--selector=first=connection", "--now")
    hosts = re.findall(r"Hostname=(\S+)", text)
    assert hosts == list(pods("app=v2")) * FIRSTS


def test_the_route_was_told(running: dict[str, Agent]) -> None:
    kubectl("apply", "-f", "-", stdin=ROUTE)
    kubectl("wait", "--for=jsonpath={.status.parents[0].controllerName}=" + CONTROLLER_NAME, "tcproute/echo")
    (entry,) = json.loads(kubectl("get", "tcproute", "echo", "--output=json"))["status"]["parents"]
    assert {item["type"]: item["status"] for item in entry["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }


def test_the_mesh_says_that_it_is_there(running: dict[str, Agent]) -> None:
    cluster.kubectl("wait", "--for=condition=Accepted", "--timeout=60s", "xmesh/weft")


def test_pods_that_come_and_go(running: dict[str, Agent]) -> None:
    kubectl("scale", "deployment/v2", "--replicas=3")
    kubectl("rollout", "status", "--timeout=60s", "deployment/v2")
    until("all known", lambda: enrolled(running).keys() == pods("all=echo").keys())
    kubectl("scale", "deployment/v2", "--replicas=1")
    until("gone again", lambda: enrolled(running).keys() == pods("all=echo").keys() and len(pods("app=v2")) == 1)
