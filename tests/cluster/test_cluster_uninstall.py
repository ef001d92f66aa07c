"""weft on a cluster from `kubectl weft` to its end: asked on each node, then patched away; the nodes are as before."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from difflib import unified_diff

import builds
import cluster
import images
import install
import layout
import pytest
import weft_image
from installed import UP
from weft_processes import until

pytestmark = pytest.mark.cluster

DAEMONSET = weft_image.ROOT / "daemonset"
# Everything that could be left, as text. Interfaces of pods come and go, and link-local addresses come late.
TRACES = """
bpftool --json cgroup tree {kubepods} | tr , '\\n' | grep '"name"' | sort
find /sys/fs/bpf /run/weft 2>/dev/null
ip -brief address | grep -v veth
ip -4 route show table all | grep -v veth
ip -6 route show table all | grep -v -e veth -e fe80
ip rule
nft --stateless list ruleset 2>/dev/null
find /proc/sys/net -type f | grep -v -e veth -e count -e hash | sort | xargs grep -s ''
ss --listening --numeric --no-header --tcp --udp --unix | awk '{{print $1, $5}}' | grep -v containerd | sort
true
"""
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {{name: client-{node}, labels: {{weft.dev/mode: l4}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: client, image: {image}, args: [--port=8080]}}]
---
"""


def traces(name: str) -> str:
    """What weft could leave on a node."""
    command = [*cluster.PROVIDER.enter(name), "sh", "-c", TRACES.format(kubepods=cluster.PROVIDER.kubepods(name))]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, str]]:
    """A cluster with weft and an enrolled pod on each node; says what could be seen there before weft came."""
    subprocess.run(UP, check=True)
    try:
        clients = "".join(CLIENT.format(node=node.name, image=images.ECHO) for node in cluster.NODES)
        cluster.kubectl("apply", "-f", "-", stdin=clients)
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
        found = {node.name: traces(node.name) for node in cluster.NODES}
        install.install()
        yield found
    finally:
        cluster.down()


def kubectl_weft(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The plugin, as kubectl runs it."""
    path = f"{builds.program(builds.KUBERNETES, 'kubectl').parent}:{DAEMONSET}:{os.environ['PATH']}"
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
    nodes = cluster.kubectl("get", "nodes", "--output=name").replace("node/", "").split()
    assert set(before) <= set(nodes)
    assert [line for line in done.stderr.splitlines() if line.startswith("==")] == [f"== {name}" for name in nodes]
    assert done.stdout.count("agent on ") == len(nodes)


def test_kubectl_weft_asks_the_pod_s_node(before: dict[str, str]) -> None:
    for node in before:
        until("enrolled", lambda node=node: modes(node).get(f"default/client-{node}") == "l4")
        done = kubectl_weft("explain", f"default/client-{node}", f"{layout.DNS_SERVICE}:53")
        assert done.returncode == 0, done.stderr
        assert f"default/client-{node}" in done.stdout


@pytest.mark.machines  # a node of kind has no bpftool
def test_nothing_is_left_on_any_node(before: dict[str, str]) -> None:
    assert all(traces(node.name) != before[node.name] for node in cluster.NODES)
    daemonset = (f"--namespace={install.NAMESPACE}", "daemonset/weft-agent")
    cluster.kubectl("patch", *daemonset, f"--patch-file={DAEMONSET / 'uninstall.yaml'}")
    cluster.kubectl("rollout", "status", "--timeout=120s", *daemonset)
    cluster.kubectl("delete", "--kustomize", str(install.OVERLAY), "--timeout=120s")
    # Pods of the waypoint have half a minute to drain.
    with suppress(TimeoutError):
        until("as before", lambda: {node.name: traces(node.name) for node in cluster.NODES} == before)
    for node in cluster.NODES:
        difference = unified_diff(before[node.name].splitlines(), traces(node.name).splitlines(), lineterm="", n=0)
        assert "\n".join(difference) == ""
