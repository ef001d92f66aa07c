"""What requests of every kind notice of weft's restarts, of a control plane that is away, of a node that dies."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import cluster
import install
import installed
import load
import nodes
import packages
import pytest
import weft_image
from layout import NODES
from load import Client, Seen
from test_cluster import UP
from weft_processes import until

pytestmark = pytest.mark.cluster

SHOP = cluster.MANIFESTS / "shop.yaml"
SPACE = "shop"
FIRST, SECOND = (node.name for node in NODES)
# How long the control plane is away, in seconds: three minutes in the long run.
AWAY = max(20.0, 180.0 * float(os.environ.get("WEFT_TEST_SCALE", "0")))


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


def manifests() -> str:
    """The shop, served by the lab's server from weft's own image."""
    return SHOP.read_text().replace("IMAGE", f"{weft_image.NAME}:{weft_image.tag()}").replace("PYTHON", load.PYTHON)


@pytest.fixture(scope="module")
def shop() -> Iterator[None]:
    """A cluster with weft, and the shop in it."""
    subprocess.run(UP, check=True)
    try:
        install.install()
        cluster.kubectl("apply", "-f", "-", stdin=manifests())
        kubectl("rollout", "status", "--timeout=120s", "deployment/web")
        for namespace in (SPACE, "basic", "plain"):
            load.provide(namespace)
        yield
    finally:
        cluster.down()


def nothing_is_lost(seen: Seen) -> None:
    """Every kind of exchange took place, through a waypoint, and none failed."""
    print(json.dumps({"counts": seen.counts, "lives": seen.lives}, sort_keys=True))
    assert seen.failures == []
    for kind in ("new", "new POST", "slow POST", "kept", "kept POST", "gRPC"):
        assert any(name.startswith(f"{kind} by") for name in seen.counts), kind
    for kind in ("WebSocket: ended by the client", "gRPC stream: answered", "slow POST: answered"):
        assert seen.lives[kind], kind


@pytest.mark.parametrize("workload", ["weft-agent", "weft-waypoint"])
def test_weft_is_restarted(shop: None, workload: str) -> None:
    with load.running(*(load.every_kind(SPACE, node.name) for node in NODES)) as seen:
        installed.kubectl("rollout", "restart", f"daemonset/{workload}")
        installed.kubectl("rollout", "status", "--timeout=180s", f"daemonset/{workload}")
    for clients in seen.values():
        nothing_is_lost(clients)


def test_an_agent_is_deleted(shop: None) -> None:
    with load.running(load.every_kind(SPACE, FIRST)) as seen:
        installed.kubectl("delete", "--force", "pod", installed.pod("weft-agent", FIRST)["metadata"]["name"])
        until("another is ready", lambda: installed.status(FIRST)["ready"])
    nothing_is_lost(*seen.values())


def test_the_control_plane_is_away(shop: None) -> None:
    with load.running(*(load.every_kind(SPACE, node.name) for node in NODES)) as seen:
        cluster.crash("control-plane")
        time.sleep(AWAY)
        subprocess.run([sys.executable, cluster.__file__, "boot", "control-plane"], check=True)
        kubectl("create", "configmap", "after")
        kubectl("delete", "pod", "--selector=app=web", f"--field-selector=spec.nodeName={SECOND}", "--wait=false")
        kubectl("rollout", "status", "--timeout=120s", "deployment/web")
        time.sleep(5)
    for clients in seen.values():
        nothing_is_lost(clients)


def test_a_waypoint_crashes(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Who may go without it does, others are refused until it is back."""
    address = installed.status(FIRST)["waypoint"]["address"]
    clients = [steady(SPACE, service, address) for service in ("web", "soft")]
    with load.running(*clients) as seen:
        time.sleep(3)
        crash_waypoint(FIRST)
        until("it has started again", lambda: container_of_waypoint(FIRST)["restartCount"] == 1)
        until("it is back", lambda: installed.status(FIRST)["waypoint"]["connected"])
        time.sleep(3)
    strict, soft = (seen[client.name] for client in clients)
    with capsys.disabled():
        for name, found in seen.items():
            print(f"\n{name}: {dict(found.counts)}; failed: {found.failures}")
    assert strict.counts["new by waypoint"] > 0
    assert strict.counts["new by kernel"] + strict.counts["kept by kernel"] == 0
    assert soft.counts["new by kernel"] > 0
    assert soft.counts["new by waypoint"] > 0
    assert soft.counts["failed"] < strict.counts["failed"]


def test_a_node_dies(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """In the kernel as much is lost as by kube-proxy, at the waypoint nothing that can be tried elsewhere."""
    address = installed.status(FIRST)["waypoint"]["address"]
    plain, l4, l7 = clients = [steady("plain", "l4", "-"), steady("basic", "l4", "-"), steady(SPACE, "web", address)]
    with load.running(*clients) as seen:
        cluster.crash(SECOND)
        place = "--for=condition=Ready=Unknown"
        cluster.kubectl("wait", place, "--timeout=180s", f"node/{SECOND}")
        time.sleep(10)
    subprocess.run([sys.executable, cluster.__file__, "boot", SECOND], check=True)
    with capsys.disabled():
        for name, found in seen.items():
            print(f"\n{name}: {dict(found.counts)}; failed: {found.failures}")
    lost = {client: seen[client.name].counts["failed"] for client in clients}
    made = {client: lost[client] + seen[client.name].counts["new by kernel"] for client in (plain, l4)}
    share = (lost[plain] + lost[l4]) / (made[plain] + made[l4])
    # Two samples of the same chance differ by more once in a million times.
    bound = 4.9 * math.sqrt(share * (1 - share) * (1 / made[plain] + 1 / made[l4]))
    assert 0 < lost[l4] / made[l4] < lost[plain] / made[plain] + bound
    assert lost[l7] < lost[l4]


def steady(namespace: str, service: str, waypoint: str) -> Client:
    """40 requests a second from the first node, half on connections of their own; the other might know the names."""
    address = kubectl("get", "service", service, "--output=jsonpath={.spec.clusterIP}")
    arguments = (address, str(load.MORE_THAN_ENOUGH), "40", waypoint)
    return Client(namespace, f"steady-{service}-{namespace}", FIRST, load.STEADY, arguments)


def container_of_waypoint(node: str) -> Any:
    return installed.pod("weft-waypoint", node)["status"]["containerStatuses"][0]


def crash_waypoint(node: str) -> None:
    """Kill the container as the kernel would, without its runtime's knowledge."""
    container = container_of_waypoint(node)["containerID"].removeprefix("containerd://")
    ctr = (str(packages.debian("containerd") / "usr/bin/ctr"), f"--address={nodes.SOCKET}", "--namespace=k8s.io")
    kill = (*ctr, "tasks", "kill", "--signal=SIGKILL", container)
    subprocess.run([sys.executable, cluster.__file__, "enter", node, "--", *kill], check=True)
