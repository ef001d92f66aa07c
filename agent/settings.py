"""Settings of the agent and the controller: validated at the start, then constant."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.tables import UnknownPodPolicy
from agent.model.meta import WEFT_NAMESPACE
from agent.translate.options import FIRST_BYTE_SECONDS, UNSUPPORTED_RUNTIMES, Collector

# Each watch is a connection to the API server, of each node that needs it.
ACCOUNT_WATCHES = 200
DEFAULT_STATE = Path("/run/weft")
STATUS_SOCKET = "agent.sock"
HEALTH_SOCKET = "health.sock"
NODES = "weftnodes"
PARAMETERS_FILE = "meshparameters.json"
REQUESTS_FILE = "requests.bin"
NETNS_SOCKET = "netns.sock"
PINS = "bpf"
# In a directory of its own, the only part of the state that a waypoint's pod mounts.
XDS_SOCKET = "waypoint/xds.sock"


class SettingsError(Exception):
    """A setting that cannot be used. The message is one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one agent. `state` is the directory of its sockets and, on a bpffs, its pins.

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
    account_watches: int = ACCOUNT_WATCHES
    encryption: bool = False
    """Whether MeshParameters may have tunnels to other nodes made."""
    running_netns_helper: Path | None = None
    """The socket of a network namespace helper that runs already. None: the agent starts one."""

    @property
    def netns_socket(self) -> Path:
        """The socket of the network namespace helper."""
        return self.running_netns_helper or self.state / NETNS_SOCKET

    @property
    def pins(self) -> Path:
        """The directory where programs, maps and links are pinned."""
        return self.state / PINS

    @property
    def xds_socket(self) -> Path:
        """The socket that serves xDS to Envoy. No other pod can reach it."""
        return self.state / XDS_SOCKET

    @property
    def status_socket(self) -> Path:
        """The socket that serves `weft status` and `weft tables`."""
        return self.state / STATUS_SOCKET

    @property
    def requests_file(self) -> Path:
        """The file of the counts of requests, for the next agent."""
        return self.state / REQUESTS_FILE

    @property
    def health_socket(self) -> Path:
        """The socket for the kubelet's probes. It has a server of its own, whose connections others cannot use up."""
        return self.state / HEALTH_SOCKET

    @property
    def parameters_file(self) -> Path:
        """The file of the last MeshParameters that were in force."""
        return self.state / PARAMETERS_FILE

    @property
    def nodes(self) -> Path:
        """The folder of WeftNodes while the source is a directory of manifests."""
        return self.state / NODES


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The settings of one replica of the controller."""

    kubeconfig: Path | None = None
    namespace: str = WEFT_NAMESPACE
    lease: str = "weft-controller"
    identity: str = field(default_factory=socket.gethostname)
    mesh: str = "weft"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9465
    health_socket: Path | None = None
    startup_taint: bool = False
    certificates: bool = False


def parse_cidrs(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The CIDRs of --clusterset-cidr. Raises `SettingsError`."""
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
    """The collector of spans; None for no tracing. Raises `SettingsError`."""
    if text is None:
        return None
    host, port = parse_endpoint(text, "--otlp-endpoint")
    if not port:
        raise SettingsError(f"--otlp-endpoint: {text!r}: 0 is not a valid port")
    return Collector(host, port, percent)
