"""A node in miniature: a kubepods cgroup with pods, a network namespace with servers, the programs loaded once."""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.kernel import abi, cgroups, libbpf
from agent.kernel.bpffs import opened
from agent.kernel.links import detach, ensure
from agent.kernel.loader import prepare
from agent.kernel.maps import PinnedKernel, open_kernel
from agent.kernel.programs import SOURCES, Pins
from support import TESTS
from support.cleanup_lock import one_at_a_time

PREFIX = "weft-test-"
CGROUPS = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup")
PROGRAMS = TESTS / "datapath" / "programs"
LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438  # __NR_pidfd_getfd, kernel 5.6, the same on all architectures
VIP = {"4": "10.96.0.1", "6": "fd00:96::1"}
BACKENDS = {"4": ("10.0.1.1", "10.0.1.2", "10.0.1.3"), "6": ("fd00:1::1", "fd00:1::2", "fd00:1::3")}
WAYPOINT = {"4": "10.0.9.9", "6": "fd00:9::9"}
VIP_PORT, BACKEND_PORT, EXCHANGE_PORT, WAYPOINT_PORT = 80, 9090, 9191, 15001
SERVERS = [
    *((address, VIP_PORT) for address in VIP.values()),
    *((address, BACKEND_PORT) for addresses in BACKENDS.values() for address in addresses),
    *((address, WAYPOINT_PORT) for address in WAYPOINT.values()),
]


Answer = dict[str, Any]


def load(pins: Path, cgroup: Path, sources: Path = SOURCES, without: frozenset[str] = frozenset()) -> list[str]:
    """Load and attach the programs. Returns the names of those that were not attached before."""
    return ensure(pins, cgroup, prepare(pins, cgroup, sources, without).version) or []


@contextlib.contextmanager
def other_installation(node: "Node", name: str) -> Iterator[tuple[Path, Path]]:
    """Pins and a kubepods cgroup for other programs than the node's; both are removed."""
    pins, kubepods = node.pins / name, CGROUPS / node.name / name
    pins.mkdir()
    kubepods.mkdir()
    yield pins, kubepods
    detach(pins)
    pins.rmdir()
    remove_cgroups(kubepods)


def run(*command: str) -> str:
    """A command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def remove_cgroups(root: Path) -> None:
    """End what runs in a cgroup tree and remove it."""
    if not root.is_dir():
        return
    (root / "cgroup.kill").write_text("1")
    for folder in sorted((entry for entry in root.rglob("*") if entry.is_dir()), reverse=True):
        remove_when_empty(folder)
    remove_when_empty(root)


def remove_when_empty(folder: Path) -> None:
    """Remove a cgroup when its killed processes have left it."""
    events = folder / "cgroup.events"
    while "populated 1" in events.read_text():
        os.sched_yield()
    folder.rmdir()


def clean(name: str) -> None:
    """Remove everything that a run of this name creates."""
    remove_cgroups(CGROUPS / name)
    run_folder = Path("/run", name)
    if (run_folder / "bpf").is_mount():
        detach(run_folder / "bpf")
        run("umount", str(run_folder / "bpf"))
    shutil.rmtree(run_folder, ignore_errors=True)
    with contextlib.suppress(subprocess.CalledProcessError):
        run("ip", "netns", "delete", name)


def remove_stale() -> None:
    """Remove what killed test runs left: everything with the id of a process that has ended."""
    parents = (CGROUPS, Path("/run"), Path("/run/netns"))
    with one_at_a_time():
        names = {path.name for parent in parents if parent.is_dir() for path in parent.glob(f"{PREFIX}*")}
        for name in names:
            if not Path("/proc", name.removeprefix(PREFIX)).exists():
                clean(name)


def start(cgroup: Path, namespace: str, *command: str, **options: Any) -> "subprocess.Popen[str]":
    """A process within a cgroup and a network namespace; removing the cgroup ends it."""
    cgroup.mkdir(parents=True)
    enter = f'echo $$ > {cgroup}/cgroup.procs && exec ip netns exec {namespace} "$@"'
    return subprocess.Popen(["sh", "-c", enter, "sh", *command], text=True, **options)


@dataclass
class Pod:
    """One pod: its cgroup, and a process in it that makes calls."""

    folder: Path
    namespace: str
    inherited: tuple[int, ...] = ()
    client: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "pass_fds": self.inherited}
        self.client = start(
            self.folder / "ctr", self.namespace, sys.executable, str(PROGRAMS / "traffic_client.py"), **pipes
        )

    @property
    def cgroup_id(self) -> int:
        return self.folder.stat().st_ino

    def start(self, **call: Any) -> None:
        """Begin calls without waiting for their end."""
        assert self.client.stdin is not None
        self.client.stdin.write(json.dumps(call) + "\n")
        self.client.stdin.flush()

    def finish(self) -> list[Answer]:
        """The results of the calls that `start` began."""
        assert self.client.stdout is not None
        found: list[Answer] = json.loads(self.client.stdout.readline())
        return found

    def calls(self, **call: Any) -> list[Answer]:
        self.start(**call)
        return self.finish()

    def call(self, **call: Any) -> Answer:
        return self.calls(**call)[0]

    @contextlib.contextmanager
    def borrowed(self, fd: int) -> Iterator[int]:
        """A duplicate of a descriptor of the pod."""
        process = os.pidfd_open(self.client.pid)
        borrowed = LIBC.syscall(PIDFD_GETFD, process, fd, 0)
        os.close(process)
        if borrowed < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        try:
            yield borrowed
        finally:
            os.close(borrowed)

    def close(self) -> None:
        self.client.communicate()


@dataclass
class Node:
    """The miniature node: `name` is that of its network namespace, `version` that of the programs."""

    name: str
    pins: Path
    kubepods: Path
    version: str
    kernel: PinnedKernel = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = open_kernel(self.pins)

    @property
    def levels(self) -> tuple[int, int]:
        return cgroups.levels(self.kubepods)

    def new_pod(self, *inherited: int) -> Pod:
        return Pod(self.kubepods / "besteffort" / f"pod{uuid.uuid4()}", self.name, inherited)

    def udp_pairs(self, pod: Pod, fd: int) -> bytes:
        """The row in `weft_udp_sockets` of a socket that a pod's process has open; empty where it has none."""
        with opened(Pins(self.pins).map_path("weft_udp_sockets")) as table, pod.borrowed(fd) as borrowed:
            try:
                return libbpf.lookup(table, abi.U32.pack(borrowed), abi.UDP_SOCKET.size)
            except FileNotFoundError:
                return b""

    def cgroup_ids(self, pod: Pod) -> list[int]:
        """The ids from level 0 down to the pod's container."""
        depth = len(pod.folder.relative_to(CGROUPS).parts)
        folders = [*reversed(pod.folder.parents[:depth]), pod.folder, pod.folder / "ctr"]
        return [folder.stat().st_ino for folder in folders]


def make_namespace(name: str) -> None:
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    for address, _ in SERVERS:
        width = ("128", "nodad") if ":" in address else ("32",)
        run("ip", "-n", name, "address", "add", f"{address}/{width[0]}", "dev", "lo", *width[1:])


@contextlib.contextmanager
def servers(name: str) -> Iterator[None]:
    command = (sys.executable, str(PROGRAMS / "traffic_server.py"), json.dumps(SERVERS))
    with start(CGROUPS / name / "servers", name, *command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.kill()
