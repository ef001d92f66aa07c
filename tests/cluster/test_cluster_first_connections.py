"""Pods that connect as the first thing they do: busy agents, agents that are away, pods without an API object."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cluster
import images
import install
import installed
import nodes
import pytest
import yaml
from cluster import NODES
from installed import UP
from weft_processes import until

pytestmark = pytest.mark.cluster

SPACE = "race"
# 200 pods, fifty at a time, while 10 000 Services come: with WEFT_TEST_SCALE=1.
SCALE = max(0.1, float(os.environ.get("WEFT_TEST_SCALE", "0")))
PODS, AT_ONCE, SERVICES = int(200 * SCALE), max(10, int(50 * SCALE)), int(10_000 * SCALE)
HANDS, WAYPOINT_PODS = 2, 20
AWAY = 10.0  # seconds
STATIC = f"{nodes.STATIC_PODS}/static.yaml"
VERSION = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: echo, version: {name}}}}}
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
  selector: {{version: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
"""
ECHO_AND_ROUTE = """
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
---
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
def address() -> Iterator[str]:
    """A cluster with weft, and in an enrolled namespace a Service: kube-proxy would divide it, the Route does not."""
    subprocess.run(UP, check=True)
    try:
        install.install()
        cluster.kubectl("create", "namespace", SPACE)
        cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4")
        made = [VERSION.format(name=name, image=images.ECHO) for name in ("v1", "v2")]
        kubectl("apply", "-f", "-", stdin="".join(made) + ECHO_AND_ROUTE)
        kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
        found = kubectl("get", "service", "echo", "--output=jsonpath={.spec.clusterIP}")
        until("the Route applies", lambda: answers("v1", found) == {"v2"})
        yield found
    finally:
        cluster.down()


def client(name: str, address: str, count: int = 1, **spec: str) -> str:
    """A pod whose first instruction is a connect; with `count` more it makes five a second."""
    command = [
        "client",
        f"http://{address}/",
        f"--count={count}",
        "--qps=5",
        "--timeout=120s",
        "--new-connection-per-request",
    ]
    container = {"name": "client", "image": images.ECHO, "imagePullPolicy": "Never", "command": command}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"first": "connection"}},
        # What the node has no time to start is tried again, and so is what could not connect: neither has escaped.
        "spec": {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }
    return f"---\n{yaml.safe_dump(pod)}"


def answers(pod: str, address: str) -> set[str]:
    """Who answers 20 connections of a pod; nobody when one failed."""
    try:
        how = ("--count=20", "--timeout=1m", "--new-connection-per-request")
        text = kubectl("exec", pod, "--", "client", f"http://{address}/", *how)
    except subprocess.CalledProcessError:
        return set()
    return set(re.findall(r"Hostname=(\S+)", text))


def make_services(number: int) -> None:
    """A part of them; one kubectl makes fifty a second."""
    own = range(number, SERVICES, HANDS)
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"busy-{item}"},
            "spec": {"selector": {"app": f"busy-{item}"}, "ports": [{"port": 80}]},
        }
        for item in own
    ]
    kubectl(
        "create", "--validate=false", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def test_none_escapes_while_thousands_of_services_come(address: str) -> None:
    hands = [threading.Thread(target=make_services, args=(number,)) for number in range(HANDS)]
    for hand in hands:
        hand.start()
    busy = []
    for start in range(0, PODS, AT_ONCE):
        made = [client(f"first-{number}", address) for number in range(start, start + AT_ONCE)]
        kubectl("create", "-f", "-", stdin="".join(made))
        busy.append(any(hand.is_alive() for hand in hands))
        done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s", "pod")
        kubectl(*done, "--selector=first=connection")
    for hand in hands:
        hand.join()
    logged = kubectl("logs", "--selector=first=connection", "--tail=-1", f"--max-log-requests={PODS}")
    kubectl("delete", "pods", "--selector=first=connection", "--force")
    assert re.findall(r"Hostname=(\S+)", logged) == ["v2"] * PODS
    assert busy[0], "the first pods were made while Services came"
    assert len(kubectl("get", "services", "--output=name").split()) == SERVICES + 3


def test_the_waypoint_takes_a_pod_s_first_requests(address: str) -> None:
    """It knows pods by their addresses, of which their statuses come to tell a second after they began to connect."""
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l7", "--overwrite")
    try:
        kubectl("apply", "-f", "-", stdin=ECHO_AND_ROUTE.replace("name: echo", "name: web").replace("TCPR", "HTTPR"))
        found = kubectl("get", "service", "web", "--output=jsonpath={.spec.clusterIP}")
        until("the Route applies", lambda: answers("v1", found) == {"v2"})
        made = (client(f"web-{number}", found, 10, restartPolicy="Never") for number in range(WAYPOINT_PODS))
        kubectl("create", "-f", "-", stdin="".join(made))
        until("all have ended", lambda: phases("Pending", "Running") == [])
        logged = kubectl("logs", "--selector=first=connection", "--tail=-1", f"--max-log-requests={WAYPOINT_PODS}")
        assert phases("Failed") == [], logged
        assert re.findall(r"Hostname=(\S+)", logged) == ["v2"] * 10 * WAYPOINT_PODS
    finally:
        kubectl("delete", "pods", "--selector=first=connection", "--force")
        cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4", "--overwrite")


def phases(*wanted: str) -> list[str]:
    """The clients that are in one of these."""
    template = "jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}"
    found = kubectl("get", "pods", "--selector=first=connection", f"--output={template}").split()
    return [item for item in found if item.partition("=")[2] in wanted]


def test_pods_that_no_agent_saw_start_pass_are_counted_and_join(address: str) -> None:
    """Their policy is to pass: kube-proxy divides them."""
    before = {node.name: passed(node.name) for node in NODES}
    with no_agents():
        kubectl("create", "-f", "-", stdin="".join(client(f"alone-{number}", address, 10_000) for number in range(20)))
        kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod", "--selector=first=connection")
        time.sleep(AWAY)
    alone = [item for node in NODES for item in enrolled(node.name)]
    assert sorted(alone) == sorted(f"{SPACE}/alone-{number}" for number in range(20))
    for node in NODES:
        # Each node has ten of them by and large, and each of these makes five connections a second.
        assert passed(node.name) - before[node.name] >= 5 * AWAY
    for number in range(20):
        assert answers(f"alone-{number}", address) == {"v2"}
    kubectl("delete", "pods", "--selector=first=connection", "--force")


def test_a_static_pod_joins(address: str) -> None:
    """The kubelet starts it from a file, and names its cgroup by a hash that the API server does not tell."""
    name = NODES[0].name
    machine(name, "sh", "-c", f"cat > {STATIC}", stdin=client("static", address, 10_000))
    try:
        until("it is enrolled", lambda: f"{SPACE}/static-{name}" in enrolled(name))
        until("it is in the mesh", lambda: answers(f"static-{name}", address) == {"v2"})
    finally:
        machine(name, "rm", STATIC)
    until("it is forgotten", lambda: f"{SPACE}/static-{name}" not in enrolled(name))


@contextmanager
def no_agents() -> Iterator[None]:
    """No agent on any node, as if their image could not be had."""
    patch = ("patch", "daemonset/weft-agent", "--type=json", "--patch")
    path = "/spec/template/spec/nodeSelector"
    add = {"op": "add", "path": path, "value": {"nobody": "here"}}
    installed.kubectl(*patch, json.dumps([add]))
    installed.kubectl("wait", "--for=delete", "--timeout=60s", "pod", "--selector=app.kubernetes.io/name=weft-agent")
    try:
        yield
    finally:
        installed.kubectl(*patch, json.dumps([{"op": "remove", "path": path}]))
        installed.kubectl("rollout", "status", "--timeout=120s", "daemonset/weft-agent")


def passed(node: str) -> float:
    """How many connections of pods that its agent did not know a node has let pass."""
    return installed.metric(node, "weft_decisions_total", reason="unknown_pod")


def enrolled(node: str) -> list[str]:
    """The clients that a node's agent has in mode l4."""
    found = [pod["pod"] for pod in installed.status(node)["pods"] if pod["mode"] == "l4"]
    return [name for name in found if name not in (f"{SPACE}/v1", f"{SPACE}/v2")]


def machine(name: str, *command: str, stdin: str | None = None) -> None:
    """Run a command on a node."""
    enter = (sys.executable, cluster.__file__, "enter", name, "--", *command)
    subprocess.run(enter, input=stdin, text=True, check=True)
