"""`weft agent --kubernetes` and `weft controller` as processes against a real API server, and a real kernel."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apiserver_gateway import bundle_version, install
from apiserver_objects import GATEWAY, http_route, namespace, pod, service
from apiserver_process import Cluster, free_ports

from agent.kernel.links import detach

WEFT = (str(Path(sys.executable).with_name("weft")),)
CGROUPS = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup")
PREFIX = "weft-apiserver-test-"
# As the kubelet of kind has it: systemd's names, below a --cgroup-root.
KUBEPODS = Path("kubelet.slice", "kubelet-kubepods.slice")
MERGE = "application/merge-patch+json"
PATIENCE = 40.0


def until(holds: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait for something to be so while the process lives."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.1)


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *WEFT, *arguments])


def clean(name: str) -> None:
    """Everything that a run of this name makes."""
    pins = Path("/run", name, "bpf")
    if pins.is_mount():
        detach(pins)
        subprocess.run(["umount", str(pins)], check=True)
    shutil.rmtree(pins.parent, ignore_errors=True)
    root = CGROUPS / name
    for folder in sorted((entry for entry in (root, *root.rglob("*")) if entry.is_dir()), reverse=True):
        folder.rmdir()


@pytest.fixture
def place() -> Iterator[str]:
    """A name for cgroups and state; what killed runs left under such names is removed."""
    for folder in (CGROUPS, Path("/run")):
        for left in folder.glob(f"{PREFIX}*"):
            if not Path("/proc", left.name.removeprefix(PREFIX)).exists():
                clean(left.name)
    name = f"{PREFIX}{os.getpid()}"
    (CGROUPS / name / KUBEPODS).mkdir(parents=True)
    yield name
    clean(name)


def run_pod(cluster: Cluster, name: str, node: str, address: str) -> str:
    """A pod as the kubelet reports it; returns its uid."""
    made = cluster.request("POST", "/api/v1/namespaces/agent/pods", pod(name, node))
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    cluster.request("PATCH", f"/api/v1/namespaces/agent/pods/{name}/status", {"status": status}, MERGE)
    return str(made["metadata"]["uid"])


def make_cgroup(place: str, uid: str) -> None:
    """What the kubelet does before the first container of a burstable pod."""
    name = uid.replace("-", "_")
    burstable = CGROUPS / place / KUBEPODS / "kubelet-kubepods-burstable.slice"
    (burstable / f"kubelet-kubepods-burstable-pod{name}.slice").mkdir(parents=True)


def fill(cluster: Cluster, place: str) -> None:
    """A namespace in mode l4 with a Service, a Route, and a pod on this node and on another."""
    cluster.request("POST", "/api/v1/namespaces", namespace("agent", **{"weft.dev/mode": "l4"}))
    cluster.request("POST", "/api/v1/namespaces/agent/services", service("web"))
    cluster.request("POST", f"{GATEWAY}/namespaces/agent/httproutes", http_route("web"))
    make_cgroup(place, run_pod(cluster, "mine", "n1", "10.77.0.2"))
    run_pod(cluster, "theirs", "n2", "10.77.1.2")
    endpoints = [{"addresses": ["10.77.0.2"]}, {"addresses": ["10.77.1.2"]}]
    labels = {"kubernetes.io/service-name": "web"}
    body = {"metadata": {"name": "web", "labels": labels}, "addressType": "IPv4", "endpoints": endpoints}
    ports = [{"name": "http-80", "port": 8080}]
    cluster.request("POST", "/apis/discovery.k8s.io/v1/namespaces/agent/endpointslices", body | {"ports": ports})


@dataclass(frozen=True)
class Agent:
    """A running agent."""

    process: subprocess.Popen[bytes]
    cluster: Cluster
    state: str
    port: int

    def ready(self) -> bool:
        return ask(self.port, "/readyz") == (200, "ready\n")

    def status(self) -> Any:
        """What `weft status` says."""
        done = subprocess.run([*WEFT, "status", "--state", self.state, "-o", "json"], capture_output=True, check=False)
        return json.loads(done.stdout)

    def pods(self) -> dict[str, str]:
        """Modes by pod."""
        return {found["pod"]: found["mode"] for found in self.status()["pods"]}

    def until(self, holds: Callable[[], object]) -> None:
        until(holds, self.process)


@pytest.fixture
def agent(make_cluster: Callable[[], Cluster], place: str) -> Iterator[Agent]:
    cluster = make_cluster()
    install(cluster)
    fill(cluster, place)
    (port,) = free_ports(1)
    state = f"/run/{place}"
    arguments = ("--kubeconfig", str(cluster.kubeconfig()), "--node", "n1", "--metrics", f"127.0.0.1:{port}")
    place_arguments = ("--kubepods", str(CGROUPS / place / KUBEPODS), "--state", state)
    process = start("agent", "--kubernetes", *arguments, *place_arguments)
    made = Agent(process, cluster, state, port)
    try:
        made.until(made.ready)
        yield made
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.bpf
def test_an_agent_follows_its_cluster(agent: Agent, place: str):
    report = agent.status()
    assert agent.pods() == {"agent/mine": "l4"}
    (frontend,) = [found for found in report["frontends"] if found["service"] == "agent/web"]
    assert {found["backend"] for found in frontend["backends"]} == {"10.77.0.2:8080", "10.77.1.2:8080"}
    assert report["source"]["gatewayApi"] == [{"channel": "standard", "version": bundle_version()}]
    make_cgroup(place, run_pod(agent.cluster, "second", "n1", "10.77.0.3"))
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
    place = ("--namespace", "command", "--lease", "x", "--identity", "me", "--metrics", f"127.0.0.1:{port}")
    controller = start("controller", "--kubeconfig", str(cluster.kubeconfig()), *place)
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
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("weft: --kubeconfig: ")
