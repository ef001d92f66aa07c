"""A thousand Services with ten endpoints each come to a cluster at once: the agents follow."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import cluster
import images
import install
import installed
import permissions
import pytest
from cluster import NODES
from installed import UP
from weft_processes import until

pytestmark = pytest.mark.cluster

SPACE = "scale"
SERVICES, ENDPOINTS, HANDS = 1000, 10, 8
WAITING = """
apiVersion: v1
kind: Pod
metadata: {{name: waiting-{node}}}
spec:
  nodeName: {node}
  containers: [{{name: pause, image: "{image}", imagePullPolicy: Never}}]
---
"""


@pytest.fixture(scope="module")
def enrolled() -> Iterator[None]:
    """A cluster with weft, and on each node a pod that is enrolled."""
    subprocess.run(UP, check=True)
    try:
        install.install()
        cluster.kubectl("create", "namespace", SPACE)
        cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l4")
        kubectl("apply", "-f", "-", stdin="".join(WAITING.format(node=node.name, image=images.PAUSE) for node in NODES))
        kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
        for node in NODES:
            until("the kubelet has measured", lambda name=node.name: memory(name))
        yield
    finally:
        cluster.down()


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


def make(hand: int) -> None:
    """A part of the Services and their endpoints: of no pods, so that nothing but the agents has work."""
    items = [item for number in range(hand, SERVICES, HANDS) for item in service(number)]
    kubectl(
        "create", "--validate=false", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def service(number: int) -> Iterator[dict[str, object]]:
    name = f"s{number}"
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [f"10.1{n}.{number // 250}.{number % 250 + 1}"]} for n in range(ENDPOINTS)],
    }


def slots(node: str) -> float:
    return installed.metric(node, "weft_table_rows", table="slots")


def memory(node: str) -> float:
    """MiB of an agent's container, tables included."""
    summary = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    pods = {pod["podRef"]["name"]: pod for pod in summary["pods"]}
    return float(pods[installed.pod("weft-agent", node)["metadata"]["name"]]["memory"]["workingSetBytes"]) / 2**20


def test_the_agents_follow(enrolled: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = {node.name: (slots(node.name), memory(node.name)) for node in NODES}
    begin, clock = datetime.now(UTC), time.monotonic()
    hands = [threading.Thread(target=make, args=(hand,)) for hand in range(HANDS)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    made = time.monotonic() - clock
    for node in NODES:
        until("all are there", lambda name=node.name: slots(name) - before[name][0] >= SERVICES * ENDPOINTS)
    followed = time.monotonic() - clock - made
    with capsys.disabled():
        print(f"\n{SERVICES} Services of {ENDPOINTS} endpoints made in {made:.1f} s, followed {followed:.1f} s later")
        for node in NODES:
            print(f"{node.name}: agent {before[node.name][1]:.0f} MiB before, {memory(node.name):.0f} MiB after")
    assert not [permission for permission, _ in permissions.requested(since=begin) if permission.verb == "list"]
