"""What requests of every kind warning of weft's restarts, of a control plane that is away, of a node that dies."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import cluster
import installed
import load
import pytest
import shop
from cluster import NODES
from installed import UP
from load import Client
from shop import SPACE, kubectl, nothing_is_lost
from weft_processes import until

pytestmark = pytest.mark.cluster

FIRST, SECOND = (node.name for node in NODES)
# How long the control plane is away, in seconds: three minutes in the long run.
AWAY = max(20.0, 180.0 * float(os.environ.get("WEFT_TEST_SCALE", "0")))


@pytest.fixture(scope="module")
def running_shop() -> Iterator[None]:
    """A cluster with weft and the shop, and `load`'s programs also outside the mesh and in mode l4."""
    with shop.running(UP):
        for namespace in ("basic", "plain"):
            load.provide(namespace)
        yield


@pytest.mark.parametrize("workload", ["weft-agent", "weft-waypoint"])
def test_weft_is_restarted(running_shop: None, workload: str) -> None:
    with load.running(*(load.every_kind(SPACE, node.name) for node in NODES)) as seen:
        installed.kubectl("rollout", "restart", f"daemonset/{workload}")
        installed.kubectl("rollout", "status", "--timeout=180s", f"daemonset/{workload}")
    for clients in seen.values():
        nothing_is_lost(clients)


def test_an_agent_is_deleted(running_shop: None) -> None:
    with load.running(load.every_kind(SPACE, FIRST)) as seen:
        installed.kubectl("delete", "--force", "pod", installed.pod("weft-agent", FIRST)["metadata"]["name"])
        until("another is ready", lambda: installed.status(FIRST)["ready"])
    nothing_is_lost(*seen.values())


def test_the_control_plane_is_away(running_shop: None) -> None:
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


def test_a_waypoint_crashes(running_shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Who may go without it does, others are refused until it is back."""
    address = installed.status(FIRST)["waypoint"]["addresses"][0]
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


def test_a_node_dies(running_shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    """In the kernel as much is lost as by kube-proxy, at the waypoint nothing that can be tried elsewhere."""
    address = installed.status(FIRST)["waypoint"]["addresses"][0]
    plain, l4, l7 = clients = [steady("plain", "l4", "-"), steady("basic", "l4", "-"), steady(SPACE, "web", address)]
    with load.running(*clients) as seen:
        cluster.crash(SECOND)
        condition = "--for=condition=Ready=Unknown"
        cluster.kubectl("wait", condition, "--timeout=180s", f"node/{SECOND}")
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
    kill = (*cluster.PROVIDER.ctr(), "tasks", "kill", "--signal=SIGKILL", container)
    subprocess.run([sys.executable, cluster.__file__, "enter", node, "--", *kill], check=True)
