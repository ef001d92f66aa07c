"""A listener that a real Envoy refuses, from there to the Route's status: agent, API server and controller."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.model.weft_node import VERSION
from agent.waypoint.ports import FIRST_PORT
from support.apiserver.agent import MERGE, WEFT, Agent, ask, make_cgroup, run_pod, running_agent
from support.apiserver.controller import running
from support.apiserver.gateway import install
from support.apiserver.manifests import account, agent_account, apply
from support.apiserver.objects import GATEWAY, http_route, namespace, service
from support.apiserver.process import Cluster

pytestmark = pytest.mark.bpf
PATIENCE = 60.0
ADDRESS = "10.99.0.1"
ROUTES = f"{GATEWAY}/namespaces/agent/httproutes"
NODE = f"/apis/{VERSION}/weftnodes/n1"
# In a network namespace of its own: somebody has the first ports that listeners get, until a line comes.
ENVOY = f"""
import socket, subprocess, sys
from pyroute2 import IPRoute
with IPRoute() as ip:
    (loopback,) = ip.link_lookup(ifname="lo")
    ip.link("set", index=loopback, state="up")
    ip.addr("add", index=loopback, address={ADDRESS!r}, prefixlen=32)
taken = [socket.create_server(({ADDRESS!r}, port)) for port in range({FIRST_PORT}, {FIRST_PORT} + 10)]
with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *sys.argv[1:]], stdin=subprocess.DEVNULL) as envoy:
    sys.stdin.readline()
    for one in taken:
        one.close()
    sys.stdin.read()
    envoy.kill()
"""


@contextmanager
def envoy(state: str) -> Iterator[Callable[[], None]]:
    """A waypoint of the agent; what is called in the block gives it the ports that it cannot have before."""
    waypoint = [*WEFT, "waypoint", "--state", state, "--id", "w", "--address", ADDRESS, "--concurrency", "1"]
    command = ["unshare", "--net", "setpriv", "--pdeathsig", "KILL", sys.executable, "-c", ENVOY, *waypoint]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None

        def free() -> None:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()

        yield free
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.fixture
def cluster(make_cluster: Callable[[], Cluster], node_name: str) -> Cluster:
    """A cluster with weft's accounts and definition, and on node n1 a pod in mode l7."""
    made = make_cluster()
    install(made)
    for file in ("namespace.yaml", "rbac.yaml", "weftnodes.yaml"):
        apply(made, f"base/{file}")
    made.request("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    made.request("POST", "/api/v1/namespaces", namespace("agent", **{"weft.dev/mode": "l7"}))
    for name in ("web", "plain"):
        made.request("POST", "/api/v1/namespaces/agent/services", service(name))
    make_cgroup(node_name, run_pod(made, "mine", "n1", "10.77.0.2"))
    return made


def programmed(cluster: Cluster, name: str) -> dict[str, Any] | None:
    """The Route's condition, None when it has none."""
    status = cluster.request("GET", f"{ROUTES}/{name}").get("status", {})
    found = [it for parent in status.get("parents", []) for it in parent["conditions"] if it["type"] == "Programmed"]
    return found[0] if found else None


async def until(agent: Agent, holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(holds):
            assert agent.process.poll() is None, "the agent has ended"
            await asyncio.sleep(0.1)


async def test_what_envoy_refuses_is_in_the_status_of_the_route_until_it_is_not_refused_any_more(
    cluster: Cluster, node_name: str, tmp_path: Path
) -> None:
    controller = account(cluster, "weft-controller", tmp_path)
    with running_agent(cluster, node_name, agent_account(cluster, "n1", tmp_path)) as agent, envoy(agent.state) as free:
        async with running(controller, "weft-controller", namespace="weft-system"):
            cluster.request("POST", ROUTES, http_route("web"))
            await until(agent, lambda: programmed(cluster, "web"))
            stored = cluster.request("GET", NODE)
            assert stored["status"]["rejectedCount"] == 1
            (entry,) = stored["status"]["rejected"]
            assert (entry["type"], entry["name"]) == ("Listener", "agent/web:80")
            assert entry["routes"] == [{"kind": "HTTPRoute", "namespace": "agent", "name": "web", "generation": 1}]
            condition = programmed(cluster, "web")
            assert condition is not None
            assert (condition["status"], condition["reason"]) == ("False", "RejectedByEnvoy")
            assert condition["message"].startswith("Envoy refuses it on 1 node (n1); n1: Listener agent/web:80: ")
            assert "cannot bind" in condition["message"]
            # Another generation of the Route, which is refused as well.
            cluster.request("PATCH", f"{ROUTES}/web", {"spec": {"hostnames": ["a.example"]}}, MERGE)
            await until(agent, lambda: (programmed(cluster, "web") or {}).get("observedGeneration") == 2)
            free()
            await until(agent, lambda: programmed(cluster, "web") is None)
            status = cluster.request("GET", NODE)["status"]
            assert (status["rejected"], status["rejectedCount"]) == ([], 0)
            assert agent.status()["waypoint"]["rejected"] == {}
            assert 'weft_node_writes_total{outcome="failed"} 0.0' in ask(agent.port, "/metrics")[1]


async def test_an_agent_that_may_not_report_works_all_the_same(
    cluster: Cluster, node_name: str, tmp_path: Path
) -> None:
    """An account without the permission, as on a cluster whose roles are those of an older version."""
    kubeconfig = agent_account(cluster, "n1", tmp_path)
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/weft-agent"
    rules = [rule for rule in cluster.request("GET", role)["rules"] if rule["apiGroups"] != ["weft.dev"]]
    cluster.request("PATCH", role, {"rules": rules}, MERGE)
    with running_agent(cluster, node_name, kubeconfig) as agent, envoy(agent.state) as free:
        cluster.request("POST", ROUTES, http_route("web"))
        await until(agent, lambda: 'weft_node_writes_total{outcome="failed"} 0.0' not in ask(agent.port, "/metrics")[1])
        await until(agent, lambda: "Listener agent/web:80" in agent.status()["waypoint"]["rejected"])
        free()
        await until(agent, lambda: not agent.status()["waypoint"]["rejected"])
        assert agent.ready()
