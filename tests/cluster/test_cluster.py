"""A Deployment on two real nodes serves by cluster IP and by name, and the cluster leaves nothing behind."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cluster
import host_state
import images
import layout
import pytest
from installed import UP

pytestmark = pytest.mark.cluster

# A process of its own, as machines live on after it.

ECHO = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {{matchLabels: {{app: echo}}}}
      containers:
        - name: echo
          image: {images.ECHO}
          args: [--port=8080]
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec:
  selector: {{app: echo}}
  ports: [{{port: 80, targetPort: 8080}}]
"""


@pytest.fixture(scope="module")
def before() -> dict[str, list[str]]:
    """The host without a cluster."""
    cluster.build()
    cluster.down()
    return host_state.snapshot()


@pytest.fixture(scope="module")
def running(before: dict[str, list[str]]) -> Iterator[None]:
    subprocess.run(UP, check=True)
    yield
    cluster.down()


@pytest.fixture(scope="module")
def pods(running: None) -> dict[str, str]:
    """The Deployment's pods, and their nodes."""
    cluster.kubectl("apply", "-f", "-", stdin=ECHO)
    cluster.kubectl("rollout", "status", "--timeout=60s", "deployment/echo")
    items = json.loads(cluster.kubectl("get", "pods", "--selector=app=echo", "--output=json"))["items"]
    return {item["metadata"]["name"]: item["spec"]["nodeName"] for item in items}


def ask(pod: str, url: str, wanted: set[str]) -> set[str]:
    """The names of the pods that answer 40 requests from a pod: one does not with a probability of 2⁻³⁹.

    kube-proxy learns of endpoints after everybody else does: asked until they are the wanted ones, for 20 s.
    """
    end = time.monotonic() + 20
    while True:
        found = set(re.findall(r"Hostname=(\S+)", _answers(pod, url)))
        if found == wanted or time.monotonic() > end:
            return found


def _answers(pod: str, url: str) -> str:
    try:
        return cluster.kubectl("exec", pod, "--", "client", url, "--count=40")
    except subprocess.CalledProcessError as error:  # a request failed
        return str(error.stdout)


def test_the_pods_are_on_both_nodes(pods: dict[str, str]) -> None:
    assert sorted(pods.values()) == sorted(node.name for node in cluster.NODES)


@pytest.mark.machines
def test_the_nodes_have_the_networks_that_they_were_given(running: None) -> None:
    items = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    assert {item["metadata"]["name"]: item["spec"]["podCIDR"] for item in items} == {
        node.name: str(node.pods) for node in layout.NODES
    }


def test_a_cluster_ip_reaches_the_pods_of_both_nodes_from_each(pods: dict[str, str]) -> None:
    address = cluster.kubectl("get", "service", "echo", "--output=jsonpath={.spec.clusterIP}")
    for client in pods:
        assert ask(client, f"http://{address}/", set(pods)) == set(pods)


def test_names_are_known_in_each_pod(pods: dict[str, str]) -> None:
    for client in pods:
        assert ask(client, "http://echo/", set(pods)) == set(pods)
        assert ask(client, "http://echo.default.svc.cluster.local/", set(pods)) == set(pods)


def test_the_gateway_api_is_there(running: None) -> None:
    kinds = cluster.kubectl("api-resources", "--api-group=gateway.networking.k8s.io", "--output=name").split()
    assert {"httproutes.gateway.networking.k8s.io", "udproutes.gateway.networking.k8s.io"} <= set(kinds)


@pytest.mark.machines
def test_pods_live_below_their_nodes_cgroup(pods: dict[str, str]) -> None:
    for node in cluster.NODES:
        kubepods = Path(cluster.PROVIDER.kubepods(node.name))
        containers = [path for path in kubepods.rglob("cgroup.procs") if path.read_text()]
        assert containers


def test_a_node_that_crashed_comes_back_with_its_pods(pods: dict[str, str]) -> None:
    name = cluster.NODES[1].name
    cluster.crash(name)
    subprocess.run([sys.executable, cluster.__file__, "boot", name], check=True)
    survivor, lost = sorted(pods, key=lambda pod: pods[pod])
    restarted = "jsonpath={.status.containerStatuses[0].restartCount}=1"
    cluster.kubectl("wait", f"--for={restarted}", "--timeout=120s", "pod", lost)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", lost)
    assert ask(survivor, "http://echo/", set(pods)) == set(pods)


@pytest.mark.machines
def test_down_leaves_nothing(running: None, before: dict[str, list[str]]) -> None:
    cluster.down()
    assert host_state.snapshot() == before


@pytest.mark.machines
@pytest.mark.parametrize(
    "last_made",
    ["netns/node1", "control-plane/machine.json", "images/echo.tar", "node2/pid", "kubeconfig", "node1/kubelet.log"],
)
def test_down_clears_up_after_a_run_that_was_killed(last_made: str, before: dict[str, list[str]]) -> None:
    run = subprocess.Popen(UP, stderr=subprocess.DEVNULL)  # its orphans complain of what they lose
    while not (layout.STATE / last_made).exists():
        assert run.poll() is None
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    cluster.down()
    assert host_state.snapshot() == before
