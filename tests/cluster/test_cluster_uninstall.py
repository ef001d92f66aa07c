"""weft on a cluster from `kubectl weft` to its end: asked on each node, then patched away; the nodes are as before."""

import json
import os
import subprocess
from collections.abc import Iterator

import builds
import cluster
import images
import install
import layout
import machines
import pytest
import weft_image
from test_cluster import UP
from weft_processes import until

pytestmark = pytest.mark.cluster

DAEMONSET = weft_image.ROOT / "daemonset"
# What programs and links can be seen by, and the folders that agents make.
TRACES = """
bpftool --json cgroup tree {kubepods} | grep -c weft_
ls -d /run/weft /sys/fs/bpf/weft 2>/dev/null | wc -l
ip -brief address | grep -v -e veth -e cni0
nft list ruleset | grep -ci weft
ss --listening --numeric --no-header --tcp --udp | grep -c weft
true
"""
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: default, labels: {{weft.dev/mode: l4}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: client, image: {image}, args: [--port=8080]}}]
"""


def traces(node: layout.Node) -> str:
    """What weft could leave on a node."""
    kubepods = layout.CGROUPS / "unified" / node.cgroup.strip("/") / "kubepods"
    command = [*machines.enter(node), "sh", "-c", TRACES.format(kubepods=kubepods)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, str]]:
    """A cluster with weft and an enrolled pod; says what could be seen on its nodes before weft came."""
    subprocess.run(UP, check=True)
    try:
        found = {node.name: traces(node) for node in layout.NODES}
        install.install()
        cluster.kubectl("apply", "-f", "-", stdin=CLIENT.format(image=images.ECHO))
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/client")
        yield found
    finally:
        cluster.down()


def kubectl_weft(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The plugin, as kubectl runs it."""
    path = f"{builds.built(builds.KUBERNETES)}:{DAEMONSET}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "KUBECONFIG": str(layout.KUBECONFIG)}
    command = ["kubectl", "weft", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def modes(node: str) -> dict[str, str]:
    status = json.loads(kubectl_weft("--node", node, "status", "-o", "json").stdout)
    assert status["node"] == node
    return {pod["pod"]: pod["mode"] for pod in status["pods"]}


def test_kubectl_weft_asks_every_node(before: dict[str, str]) -> None:
    done = kubectl_weft("status")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("==")] == [f"== {name}" for name in before]
    assert done.stdout.count("agent on ") == len(before)


def test_kubectl_weft_asks_the_pod_s_node(before: dict[str, str]) -> None:
    node = cluster.kubectl("get", "pod", "client", "--output=jsonpath={.spec.nodeName}")
    until("enrolled", lambda: modes(node).get("default/client") == "l4")
    done = kubectl_weft("explain", "default/client", f"{layout.DNS_SERVICE}:53")
    assert done.returncode == 0, done.stderr
    assert "default/client" in done.stdout


def test_nothing_is_left_on_any_node(before: dict[str, str]) -> None:
    assert all(traces(node) != before[node.name] for node in layout.NODES)
    place = (f"--namespace={install.NAMESPACE}", "daemonset/weft-agent")
    cluster.kubectl("patch", *place, f"--patch-file={DAEMONSET / 'uninstall.yaml'}")
    cluster.kubectl("rollout", "status", "--timeout=120s", *place)
    cluster.kubectl("delete", "--kustomize", str(install.OVERLAY), "--timeout=120s")
    # Pods of the waypoint have half a minute to drain.
    until("as before", lambda: {node.name: traces(node) for node in layout.NODES} == before)
