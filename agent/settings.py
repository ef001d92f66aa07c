"""What the agent is told at start: validated once, then constant."""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.tables import UnknownPodPolicy
from agent.translate.options import FIRST_BYTE_SECONDS, UNSUPPORTED_RUNTIMES, Collector

DEFAULT_STATE = Path("/run/weft")
STATUS_SOCKET = "agent.sock"
HEALTH_SOCKET = "health.sock"
NODE_FILE = "weftnode.json"
PINS = "bpf"
# In a folder of its own: all of the state that a waypoint in a pod gets to see.
XDS_SOCKET = "waypoint/xds.sock"
KUBEPODS_DEPTH = 4  # /docker/<id>/kubelet.slice/kubelet-kubepods.slice
CGROUP2_MOUNTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


class SettingsError(Exception):
    """A setting that cannot be used, in one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one agent runs. `state` holds its sockets and, on a bpffs, its pins.

    Without `manifests` the source is the Kubernetes API, by `kubeconfig` or by the pod's service account.
    """

    kubepods: Path
    manifests: Path | None = None
    kubeconfig: Path | None = None
    state: Path = DEFAULT_STATE
    waypoint_addresses: Addresses = field(default_factory=Addresses)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    node: str = field(default_factory=socket.gethostname)
    zone: str = ""
    collector: Collector | None = None
    unknown_pod: UnknownPodPolicy = UnknownPodPolicy.PASS
    enrol_kube_system: bool = False
    unsupported_runtimes: tuple[str, ...] = UNSUPPORTED_RUNTIMES
    first_byte_seconds: float = FIRST_BYTE_SECONDS
    clusterset_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    audit_seconds: float = 30.0

    @property
    def pins(self) -> Path:
        """Where programs, maps and links are pinned."""
        return self.state / PINS

    @property
    def xds_socket(self) -> Path:
        """Where Envoy asks for its configuration. No pod can reach it."""
        return self.state / XDS_SOCKET

    @property
    def status_socket(self) -> Path:
        """Where `weft status` and `weft tables` ask."""
        return self.state / STATUS_SOCKET

    @property
    def health_socket(self) -> Path:
        """Where the kubelet's probes ask: a server of its own, which no connections of others can fill."""
        return self.state / HEALTH_SOCKET

    @property
    def node_file(self) -> Path:
        """Where the node's WeftNode is stored while the source is a directory of manifests."""
        return self.state / NODE_FILE


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How one replica of the controller runs."""

    kubeconfig: Path | None = None
    namespace: str = "weft-system"
    lease: str = "weft-controller"
    identity: str = field(default_factory=socket.gethostname)
    mesh: str = "weft"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9465
    health_socket: Path | None = None
    startup_taint: bool = False


def find_kubepods() -> Path:
    """The kubelet's cgroup on this machine, in cgroup v2 or its part of a hybrid tree. Raises `SettingsError`."""
    mounts = [mount for mount in CGROUP2_MOUNTS if (mount / "cgroup.controllers").exists()]
    found = [folder for mount in mounts for folder in _kubepods_below(mount, KUBEPODS_DEPTH)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SettingsError(f"--kubepods: which of {', '.join(map(str, sorted(found)))}?")
    raise SettingsError("--kubepods: no kubepods or kubepods.slice under a cgroup2 mount; is a kubelet running here?")


def _kubepods_below(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of kubelets, whose --cgroup-root may be some levels down: `kubelet.slice/kubelet-kubepods.slice`."""
    try:
        folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:  # a container that ended
        return
    for below in folders:
        if below.name.removesuffix(".slice").rpartition("-")[2] == "kubepods":
            yield below
        elif depth > 1:
            yield from _kubepods_below(below, depth - 1)


def parse_cidrs(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Each --clusterset-cidr as a range of addresses. Raises `SettingsError`."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise SettingsError(f"--clusterset-cidr: {error}") from error
    return tuple(found)


def parse_addresses(text: str, option: str) -> Addresses:
    """An option's addresses, at most one of each family, separated by commas. Raises `SettingsError`."""
    try:
        return Addresses.parse(text)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from error


def parse_endpoint(text: str, option: str = "--metrics") -> tuple[str, int]:
    """An option's `127.0.0.1:9464` or `[::1]:9464` as host and port. Raises `SettingsError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{option}: {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def parse_collector(text: str | None, percent: float) -> Collector | None:
    """Where spans go, None for nowhere. Raises `SettingsError`."""
    if text is None:
        return None
    host, port = parse_endpoint(text, "--otlp-endpoint")
    if not port:
        raise SettingsError(f"--otlp-endpoint: {text!r}: nobody listens on port 0")
    return Collector(host, port, percent)
