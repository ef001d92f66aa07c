"""`weft agent --kubernetes` and `weft controller` as processes against a real API server, and a real kernel."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.apiserver.agent import MERGE, WEFT, Agent, ask, make_cgroup, run_pod, running_agent, start, until
from support.apiserver.gateway import bundle_version, install
from support.apiserver.objects import GATEWAY, http_route, namespace, service
from support.apiserver.process import Cluster, free_ports


def fill(cluster: Cluster, node_name: str) -> None:
    """A namespace in mode l4 with a Service, a Route, and a pod on this node and on another."""
    cluster.request("POST", "/api/v1/namespaces", namespace("agent", **{"weft.dev/mode": "l4"}))
    cluster.request("POST", "/api/v1/namespaces/agent/services", service("web"))
    cluster.request("POST", f"{GATEWAY}/namespaces/agent/httproutes", http_route("web"))
    make_cgroup(node_name, run_pod(cluster, "mine", "n1", "10.77.0.2"))
    run_pod(cluster, "theirs", "n2", "10.77.1.2")
    endpoints = [{"addresses": ["10.77.0.2"]}, {"addresses": ["10.77.1.2"]}]
    labels = {"kubernetes.io/service-name": "web"}
    body = {"metadata": {"name": "web", "labels": labels}, "addressType": "IPv4", "endpoints": endpoints}
    ports = [{"name": "http-80", "port": 8080}]
    cluster.request("POST", "/apis/discovery.k8s.io/v1/namespaces/agent/endpointslices", body | {"ports": ports})


@pytest.fixture
def agent(make_cluster: Callable[[], Cluster], node_name: str) -> Iterator[Agent]:
    cluster = make_cluster()
    install(cluster)
    fill(cluster, node_name)
    with running_agent(cluster, node_name, cluster.kubeconfig()) as made:
        yield made


@pytest.mark.bpf
def test_an_agent_follows_its_cluster(agent: Agent, node_name: str):
    report = agent.status()
    assert agent.pods() == {"agent/mine": "l4"}
    (frontend,) = [found for found in report["frontends"] if found["service"] == "agent/web"]
    assert {found["backend"] for found in frontend["backends"]} == {"10.77.0.2:8080", "10.77.1.2:8080"}
    assert report["source"]["gatewayApi"] == [{"channel": "standard", "version": bundle_version()}]
    make_cgroup(node_name, run_pod(agent.cluster, "second", "n1", "10.77.0.3"))
    agent.until(lambda: agent.pods() == {"agent/mine": "l4", "agent/second": "l4"})
    agent.cluster.request("DELETE", "/api/v1/namespaces/agent/pods/second?gracePeriodSeconds=0")
    agent.until(lambda: agent.pods() == {"agent/mine": "l4"})
    none = {"metadata": {"labels": {"weft.dev/mode": "none"}}}
    agent.cluster.request("PATCH", "/api/v1/namespaces/agent", none, MERGE)
    agent.until(lambda: agent.pods() == {"agent/mine": "none"})


@pytest.mark.bpf
def test_an_agent_whose_server_is_away_stays_as_it_is_and_says_so(agent: Agent):
    before = agent.status()
    agent.cluster.kill_server()
    agent.until(lambda: ask(agent.port, "/readyz")[1].startswith("stale: "))
    during = agent.status()
    assert (during["frontends"], during["pods"]) == (before["frontends"], before["pods"])
    assert "weft_source_stale 1.0" in ask(agent.port, "/metrics")[1]
    agent.cluster.start()
    agent.until(agent.ready)
    assert agent.pods() == {"agent/mine": "l4"}


def test_a_controller_command(cluster: Cluster):
    cluster.request("POST", "/api/v1/namespaces", namespace("command"))
    cluster.request("POST", "/api/v1/namespaces/command/services", service("web"))
    cluster.request("POST", f"{GATEWAY}/namespaces/command/httproutes", http_route("web"))
    (port,) = free_ports(1)
    node_name = ("--namespace", "command", "--lease", "x", "--identity", "me", "--metrics", f"127.0.0.1:{port}")
    controller = start("controller", "--kubeconfig", str(cluster.kubeconfig()), *node_name)
    try:
        until(lambda: 'weft_api_writes_total{kind="HTTPRoute",outcome="ok"}' in ask(port, "/metrics")[1], controller)
        assert ask(port, "/readyz") == (200, "ready\n")
        assert "weft_leader 1.0" in ask(port, "/metrics")[1]
        lease = "/apis/coordination.k8s.io/v1/namespaces/command/leases/x"
        assert cluster.request("GET", lease)["spec"]["holderIdentity"] == "me"
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(timeout=10) == 0
        assert not cluster.request("GET", lease)["spec"].get("holderIdentity")
    finally:
        controller.kill()
        controller.wait()


@pytest.mark.parametrize("arguments", [["agent"], ["agent", "--kubernetes", "--manifests", "/tmp"]])
def test_an_agent_has_one_source(arguments: list[str]):
    done = subprocess.run([*WEFT, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "weft: give one of --manifests DIR and --kubernetes\n")


@pytest.mark.parametrize("command", [["controller"], ["agent", "--kubernetes", "--kubepods", "/nowhere"]])
def test_a_kubeconfig_that_is_not_there(command: list[str], tmp_path: Path):
    arguments = [*command, "--kubeconfig", str(tmp_path / "none")]
    arguments += ["--state", str(tmp_path)] if command[0] == "agent" else []
    done = subprocess.run([*WEFT, *arguments], capture_output=True, text=True, check=False)
    if command[0] == "agent":
        # The agent loads its programs, which outlive it, before it asks for a server.
        subprocess.run(["umount", str(tmp_path / "bpf")], check=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("weft: --kubeconfig: ")
