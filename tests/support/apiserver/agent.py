"""`weft agent --kubernetes` as a process against a real API server, with cgroups as a kubelet makes them."""

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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.kernel.links import detach
from support.apiserver.objects import pod
from support.apiserver.process import Cluster, free_ports

WEFT = (str(Path(sys.executable).with_name("weft")),)
CGROUPS = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup")
PREFIX = "weft-apiserver-test-"
# As the kubelet of kind has it: systemd's names, below a --cgroup-root.
KUBEPODS = Path("kubelet.slice", "kubelet-kubepods.slice")
MERGE = "application/merge-patch+json"
PATIENCE = 40.0


def until(holds: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until `holds` returns true. Fails when the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.1)


def ask(port: int, path: str) -> tuple[int, str]:
    """The response's status and body; status 0 while no server answers."""
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
    """Remove everything that a run of this name creates."""
    pins = Path("/run", name, "bpf")
    if pins.is_mount():
        detach(pins)
        subprocess.run(["umount", str(pins)], check=True)
    shutil.rmtree(pins.parent, ignore_errors=True)
    root = CGROUPS / name
    for folder in sorted((entry for entry in (root, *root.rglob("*")) if entry.is_dir()), reverse=True):
        folder.rmdir()


@contextmanager
def node_folders() -> Iterator[str]:
    """A name for cgroups and state; what killed runs left under such names is removed."""
    for folder in (CGROUPS, Path("/run")):
        for left in folder.glob(f"{PREFIX}*"):
            if not Path("/proc", left.name.removeprefix(PREFIX)).exists():
                clean(left.name)
    name = f"{PREFIX}{os.getpid()}"
    (CGROUPS / name / KUBEPODS).mkdir(parents=True)
    try:
        yield name
    finally:
        clean(name)


def run_pod(cluster: Cluster, name: str, node: str, address: str) -> str:
    """A pod as the kubelet reports it; returns its uid."""
    made = cluster.request("POST", "/api/v1/namespaces/agent/pods", pod(name, node))
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    cluster.request("PATCH", f"/api/v1/namespaces/agent/pods/{name}/status", {"status": status}, MERGE)
    return str(made["metadata"]["uid"])


def make_cgroup(node_name: str, uid: str) -> None:
    """Create a burstable pod's cgroup, as the kubelet does before the first container."""
    name = uid.replace("-", "_")
    burstable = CGROUPS / node_name / KUBEPODS / "kubelet-kubepods-burstable.slice"
    (burstable / f"kubelet-kubepods-burstable-pod{name}.slice").mkdir(parents=True)


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
        """The document of `weft status`."""
        done = subprocess.run([*WEFT, "status", "--state", self.state, "-o", "json"], capture_output=True, check=False)
        return json.loads(done.stdout)

    def pods(self) -> dict[str, str]:
        """The mode of each pod."""
        return {found["pod"]: found["mode"] for found in self.status()["pods"]}

    def until(self, holds: Callable[[], object]) -> None:
        until(holds, self.process)


@contextmanager
def running_agent(cluster: Cluster, node_name: str, kubeconfig: Path) -> Iterator[Agent]:
    """The agent of node n1, until the end of the block; then as after SIGTERM."""
    (port,) = free_ports(1)
    state = f"/run/{node_name}"
    arguments = ("--kubeconfig", str(kubeconfig), "--node", "n1", "--metrics", f"127.0.0.1:{port}")
    folder_arguments = ("--kubepods", str(CGROUPS / node_name / KUBEPODS), "--state", state)
    process = start("agent", "--kubernetes", *arguments, *folder_arguments)
    made = Agent(process, cluster, state, port)
    try:
        made.until(made.ready)
        yield made
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
