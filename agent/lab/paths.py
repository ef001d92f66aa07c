"""The lab's paths and names. All are derived from the lab's name, so that labs do not collide."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path("/run/weft")
NETNS_DIR = Path("/run/netns")
NODE_NAME = "lab-node"
# No dash: else the lab `a` would take the namespaces of the lab `a-b` for its own.
_NAME = re.compile(r"[a-z0-9]{1,20}")


@cache
def cgroup2_mount() -> Path:
    """Where cgroup2 is mounted; in hybrid mode that is not /sys/fs/cgroup itself. Raises RuntimeError if nowhere."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise RuntimeError("cgroup2 is not mounted; the lab needs it, because weft identifies pods by their cgroup")


@dataclass(frozen=True, slots=True)
class LabPaths:
    """The files, network namespaces and cgroups of one lab."""

    name: str = "lab"

    def __post_init__(self) -> None:
        """A name that could reach outside of the lab's own folders is refused."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"lab name {self.name!r}: only 1 to 20 lower-case letters and digits")

    @property
    def state(self) -> Path:
        """Everything of the lab that is a file."""
        return ROOT / self.name

    @property
    def manifests(self) -> Path:
        """The object store: what the agent watches."""
        return self.state / "manifests"

    @property
    def store_lock(self) -> Path:
        """Held while the store is read and changed. It is outside of the store, so that it causes no event there."""
        return self.state / "store.lock"

    @property
    def ip_family(self) -> Path:
        """Which IP families the lab has."""
        return self.state / "ip-family"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.state / "logs"

    @property
    def bpf(self) -> Path:
        """The bpffs of this lab: unmounting it removes every pin."""
        return self.state / "bpf"

    @property
    def cgroup(self) -> Path:
        """Above every process of the lab."""
        return cgroup2_mount() / f"weft-{self.name}"

    @property
    def kubepods(self) -> Path:
        """Where the kubelet would keep pods, and where weft attaches its programs."""
        return self.cgroup / "kubepods"

    @property
    def node_netns(self) -> str:
        """The namespace that plays the node's host namespace."""
        return f"weft-{self.name}"

    def pod_netns(self, namespace: str, pod: str) -> str:
        """A pod's network namespace. Namespaces have no dots, so two pods never share one."""
        return f"weft-{self.name}-{namespace}.{pod}"

    def pod_files(self, namespace: str, pod: str) -> Path:
        """The files that are mounted over those of the host in a pod."""
        return self.state / "pods" / f"{namespace}.{pod}"

    def pod_cgroup(self, uid: str) -> Path:
        """A pod's cgroup, named as by a kubelet with the cgroupfs driver."""
        return self.kubepods / "besteffort" / f"pod{uid}"

    def system_cgroup(self, what: str) -> Path:
        """The cgroup of a process that belongs to the node, not to a pod."""
        return self.cgroup / "system" / what

    def log(self, what: str) -> Path:
        """The log of a process."""
        return self.logs / f"{what}.log"

    def pidfile(self, what: str) -> Path:
        """The process id of a node process."""
        return self.state / f"{what}.pid"
