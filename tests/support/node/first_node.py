"""A node without a kubelet: its pods' cgroups in both layouts, containers that connect first, an agent beside them.

What a kubelet does is done in its order: the Pod object, the pod's cgroup, the sandbox, and the container, a process
that is in its own cgroup before it becomes the program. All are in one network namespace; pods are known by cgroup.
"""

import errno
import json
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agent.cli.lab import wait_agent
from agent.ir.tables import Reason
from agent.kernel import bpffs
from agent.kernel.maps import PinnedKernel, open_kernel
from agent.lab import cgroups, launch, lifecycle, network
from agent.lab.paths import NODE_NAME, LabPaths
from support import TESTS

SERVER = TESTS / "datapath" / "programs" / "traffic_server.py"
SPACE = "race"
SERVICE, PORT = "10.96.7.7", 80
BACKEND, BACKEND_PORT = "10.0.7.7", 8080
# From a pod's cgroup to its first container: containerd needs twice as long, and more when there are many.
SANDBOX_SECONDS = 0.1
IN_A_FILE = 1000
QOS = ("guaranteed", "burstable", "besteffort")
# What an unenrolled client reaches instead of the mesh's backend: somebody listens at the Service's own address.
MESH, CLUSTER = (BACKEND, BACKEND_PORT), (SERVICE, PORT)
DENIED = ("errno", errno.EPERM)


class Layout(NamedTuple):
    """How a kubelet names the root of its cgroups, a pod's by class and name, and a container's by its id."""

    root: str
    pod: Callable[[str, str], Path]
    container: str


def _cgroupfs(qos: str, name: str) -> Path:
    return Path(*([] if qos == "guaranteed" else [qos]), f"pod{name}")


def _systemd(qos: str, name: str) -> Path:
    above = [] if qos == "guaranteed" else [f"kubepods-{qos}"]
    last = f"{above[-1] if above else 'kubepods'}-pod{name.replace('-', '_')}"
    return Path(*(f"{item}.slice" for item in (*above, last)))


LAYOUTS = {
    "cgroupfs": Layout("kubepods", _cgroupfs, "{}"),
    "systemd": Layout("kubepods.slice", _systemd, "cri-containerd-{}.scope"),
}


@dataclass(frozen=True)
class FirstPod:
    """A pod that connects first; a static one's cgroup is named by a hash, others' by their uid."""

    name: str
    qos: str
    static: bool = False
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    config: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def folder(self) -> str:
        """The name of the pod's cgroup."""
        return self.config if self.static else self.uid

    def manifest(self) -> dict[str, Any]:
        """Its object, as it is before anything of it runs; of a static pod it is the mirror."""
        notes = {f"kubernetes.io/config.{what}": self.config for what in ("hash", "mirror")} if self.static else {}
        meta = {"name": self.name, "namespace": SPACE, "uid": self.uid, "annotations": notes}
        spec = {"nodeName": NODE_NAME, "containers": [{"name": "first"}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


def pods(count: int) -> list[FirstPod]:
    """`count` pods, with each quality of service in turn."""
    return [FirstPod(f"first-{number}", QOS[number % len(QOS)]) for number in range(count)]


def services(count: int) -> list[dict[str, Any]]:
    """So many Services with an endpoint each, as objects."""
    found = []
    for number in range(count):
        meta = {"name": f"busy-{number}", "namespace": SPACE}
        address = f"10.97.{number // 250}.{1 + number % 250}"
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        found += service(meta, address, ports, f"10.1.{number // 250}.{1 + number % 250}")
    return found


def service(meta: dict[str, Any], address: str, ports: list[dict[str, Any]], backend: str) -> list[dict[str, Any]]:
    """A Service and its slice."""
    slice_meta = meta | {"labels": {"kubernetes.io/service-name": meta["name"]}}
    targets = [{"name": port["name"], "port": port["targetPort"]} for port in ports]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": address, "ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slice_meta,
            "addressType": "IPv4",
            "ports": targets,
            "endpoints": [{"addresses": [backend]}],
        },
    ]


class FirstNode:
    """The node. `program` is what its containers run."""

    def __init__(self, paths: LabPaths, layout: str, program: Path) -> None:
        self.paths, self._layout, self._program = paths, LAYOUTS[layout], program

    @property
    def kubepods(self) -> Path:
        """Where the kubelet's pods are."""
        return self.paths.cgroup / self._layout.root

    def make(self) -> None:
        """A network with the Service's two ways, the folders that a kubelet makes first, and what is enrolled."""
        for folder in (self.paths.manifests, self.paths.logs):
            folder.mkdir(parents=True)
        for qos in QOS:
            self._cgroup(FirstPod("", qos)).parent.mkdir(parents=True, exist_ok=True)
        bpffs.mount(self.paths.bpf)
        network.make_node(self.paths)
        for command in ("link set lo up", f"address add {SERVICE}/32 dev lo", f"address add {BACKEND}/32 dev lo"):
            subprocess.run(["ip", "-n", self.paths.node_netns, *command.split()], check=True)
        space = {"name": SPACE, "labels": {"weft.dev/mode": "l4"}}
        ports = [{"name": "http", "port": PORT, "targetPort": BACKEND_PORT}]
        own = service({"name": "echo", "namespace": SPACE}, SERVICE, ports, BACKEND)
        self.write("space", [{"apiVersion": "v1", "kind": "Namespace", "metadata": space}, *own])

    def write(self, name: str, objects: Sequence[dict[str, Any]]) -> None:
        """Replace the file of this name in the agent's directory, atomically."""
        hidden, gone = self.paths.manifests / f".{name}", self.paths.manifests / f".{name}.gone"
        hidden.mkdir()
        for start in range(0, len(objects), IN_A_FILE):
            document = {"apiVersion": "v1", "kind": "List", "items": objects[start : start + IN_A_FILE]}
            (hidden / f"{start}.json").write_text(json.dumps(document))
        if (shown := self.paths.manifests / name).exists():
            shown.rename(gone)
            shutil.rmtree(gone)
        hidden.rename(shown)

    def schedule(self, found: Sequence[FirstPod]) -> None:
        """Write the Pod objects."""
        self.write(f"pods-{found[0].name}", [pod.manifest() for pod in found])

    @contextmanager
    def servers(self) -> Iterator[None]:
        """Start servers at both addresses. Each answers with its address."""
        command = (sys.executable, str(SERVER), json.dumps([MESH, CLUSTER]))
        with subprocess.Popen(self._on_node("servers", command), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
            process.kill()

    def _on_node(self, what: str, command: Sequence[str]) -> list[str]:
        cgroup = self.paths.system_cgroup(what)
        cgroup.mkdir(parents=True, exist_ok=True)
        return launch.command(launch.ExecContext(cgroup, self.paths.node_netns), command)

    def start_agent(self, *options: str, before: Sequence[str] = ()) -> float:
        """Start the agent; returns how many seconds it needed to be ready. `before` are words before its command."""
        begun = time.monotonic()
        context = launch.ExecContext(
            self.paths.system_cgroup("agent"), self.paths.node_netns, pidfile=self.paths.pidfile("agent")
        )
        command = [
            # On a node the agent's CPU request gives it its share. Here other tests compete with it. The scheduler
            # compares sessions first (sched_autogroup, Linux 2.6.38), and the agent has one of its own.
            *("sh", "-c", 'echo -15 > /proc/self/autogroup; exec nice -n -15 "$@"', "sh"),
            *(*before, sys.executable, "-m", "agent", "agent", "--node", NODE_NAME, *options),
            *("--manifests", str(self.paths.manifests), "--state", str(self.paths.state)),
            *("--kubepods", str(self.kubepods)),
        ]
        launch.start_apart(context, command, self.paths.log("agent"))
        lifecycle.wait_for("the agent starts", lambda: lifecycle.agent_runs(self.paths), patience=5.0)
        wait_agent(self.paths, patience=60.0)
        return time.monotonic() - begun

    def kill_agent(self) -> None:
        """SIGKILL, and wait until it is gone."""
        lifecycle.stop_agent(self.paths, kill=True)

    def _cgroup(self, pod: FirstPod) -> Path:
        return self.kubepods / self._layout.pod(pod.qos, pod.folder)

    def cgroup_id(self, pod: FirstPod) -> int:
        """The id of the pod's cgroup."""
        return self._cgroup(pod).stat().st_ino

    def start_sandbox(self, pod: FirstPod) -> None:
        """The pod's cgroup."""
        self._cgroup(pod).mkdir()

    def run(self, pod: FirstPod) -> "subprocess.Popen[str]":
        """One container of a pod: in its cgroup, then in the network, then its program."""
        cgroup = self._cgroup(pod) / self._layout.container.format(uuid.uuid4().hex * 2)
        cgroup.mkdir()
        command = launch.command(
            launch.ExecContext(cgroup, self.paths.node_netns), [str(self._program), SERVICE, str(PORT)]
        )
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def begin(self, found: Sequence[FirstPod]) -> list[tuple[Any, ...]]:
        """Start pods at once, each as a kubelet does; returns what their first instructions came to."""
        due = []
        for pod in found:
            self.start_sandbox(pod)
            due.append(time.monotonic() + SANDBOX_SECONDS)
        running = []
        for pod, at in zip(found, due, strict=True):
            time.sleep(max(0.0, at - time.monotonic()))
            running.append(self.run(pod))
        return [printed(process) for process in running]

    def end(self, pod: FirstPod) -> None:
        """Remove the pod's cgroups."""
        cgroups.kill(self._cgroup(pod))
        cgroups.remove(self._cgroup(pod))

    @contextmanager
    def kernel(self) -> Iterator[PinnedKernel]:
        """The pinned maps."""
        kernel = open_kernel(self.paths.bpf)
        try:
            yield kernel
        finally:
            kernel.close()

    def decisions(self, reason: Reason) -> int:
        """The number of decisions with this reason in the agent's metrics."""
        command = self._on_node("curl", ["curl", "-sS", "http://127.0.0.1:9464/metrics"])
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        (count,) = re.findall(rf'^weft_decisions_total{{reason="{reason.name.lower()}",.*}} (\S+)$', text, re.MULTILINE)
        return int(float(count))


def printed(process: "subprocess.Popen[str]") -> tuple[Any, ...]:
    """The output of a container that has ended."""
    text, _ = process.communicate(timeout=60)
    return tuple(json.loads(text))
