"""Kinds of the core API group, and ServiceCIDR, RuntimeClass."""

import ipaddress
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from agent.model.meta import Object, Value
from agent.model.probes import Container

PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
# Set by the kubelet on the mirrors of static pods (k8s.io/kubernetes, pkg/kubelet/types/pod_update.go).
CONFIG_HASH = "kubernetes.io/config.hash"
MIRROR_HASH = "kubernetes.io/config.mirror"
HASH = re.compile(r"[0-9a-f]{32}")

Port = Annotated[int, Meta(ge=1, le=65535)]


class Namespace(Object, frozen=True):
    """A namespace; weft reads its labels."""


class NodeAddress(Value, frozen=True):
    """One address of a node, or a name: `type` is InternalIP, ExternalIP, Hostname, …"""

    address: str
    type: str = ""


class NodeStatus(Value, frozen=True):
    """Where the node is reached."""

    addresses: tuple[NodeAddress, ...] = ()


class NodeSpec(Value, frozen=True):
    """The ranges from which the node's pods have their addresses, in clusters where Kubernetes allocates them."""

    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class Node(Object, frozen=True):
    """A node; weft reads the labels and addresses of its own, and addresses and ranges of those with tunnels."""

    status: NodeStatus = NodeStatus()
    spec: NodeSpec = NodeSpec()

    @property
    def zone(self) -> str:
        """The node's zone, empty without the label."""
        return self.metadata.labels.get(ZONE_LABEL, "")


class PodIP(Value, frozen=True):
    """One address of a pod."""

    ip: str


class PodSpec(Value, frozen=True):
    """The part of a pod's spec that enrolment and authorization depend on."""

    node_name: str = ""
    host_network: bool = False
    runtime_class_name: str = ""
    service_account_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class RuntimeClass(Object, frozen=True):
    """The runtime of pods that name it; `handler` is its name in the container runtime's configuration."""

    handler: str = ""


class PodCondition(Value, frozen=True):
    """One condition of a pod; `status` is True, False or Unknown."""

    type: str
    status: str


class PodStatus(Value, frozen=True):
    """The pod's addresses, phase and conditions."""

    phase: str = "Pending"
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Object, frozen=True):
    """A pod of any node; only pods of this node can be enrolled."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, empty before it has one."""
        if self.status.pod_ips:
            return tuple(item.ip for item in self.status.pod_ips)
        return (self.status.pod_ip,) if self.status.pod_ip else ()

    @property
    def probe_ports(self) -> frozenset[int]:
        """The ports that the kubelet connects to. Init containers that are not restarted have no probes."""
        restarted = [item for item in self.spec.init_containers if item.restart_policy == "Always"]
        found = (port for item in (*self.spec.containers, *restarted) for port in item.probe_ports)
        return frozenset(port for port in found if 0 < port < 65536)

    @property
    def static_hash(self) -> str:
        """The hash in the name of a static pod's cgroup, in place of the uid; empty for every other pod.

        It is the hash of the pod's file. The API has only a mirror of the pod, made by the kubelet, which deletes
        mirrors that others made. No uid has this form, so a forged mirror cannot name the cgroup of an ordinary pod.
        """
        notes = self.metadata.annotations
        found = notes.get(MIRROR_HASH, "")
        return found if HASH.fullmatch(found) and notes.get(CONFIG_HASH) == found else ""

    @property
    def ready(self) -> bool:
        """Whether the pod's condition Ready is True, as the kubelet sets it."""
        return any(item.type == "Ready" and item.status == "True" for item in self.status.conditions)

    @property
    def finished(self) -> bool:
        """Whether every container has ended, so that the address is free for others."""
        return self.status.phase in ("Succeeded", "Failed")


def normalized_address(address: str) -> str:
    """An address in canonical form, v4-mapped ones as IPv4. What is not an address is returned unchanged; its schema
    refuses it.
    """
    if ":" not in address:  # IPv4 has one form
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or parsed)


class ServicePort(Value, frozen=True):
    """One port of a Service. Only offline commands read `targetPort`: EndpointSlices have the resolved port. 0: as
    `port`.
    """

    port: Port
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    target_port: int | str = 0

    def number_in(self, pod: Pod) -> int | None:
        """The port of a pod of the Service; None where no container has a port of the target's name."""
        if isinstance(self.target_port, int):
            return self.target_port or self.port
        named = (item for container in pod.spec.containers for item in container.ports)
        return next((item.container_port for item in named if item.name == self.target_port), None)


class ServiceCIDRSpec(Value, frozen=True):
    """One range of addresses, or one of each IP version."""

    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Object, frozen=True):
    """A range from which the API server allocates cluster IPs (networking.k8s.io/v1, Kubernetes 1.33)."""

    spec: ServiceCIDRSpec = ServiceCIDRSpec()


class ClientIPConfig(Value, frozen=True):
    """How long a client keeps its endpoint, in seconds."""

    timeout_seconds: Annotated[int, Meta(ge=1, le=86400)] = 10800


class SessionAffinityConfig(Value, frozen=True):
    """Settings of session affinity."""

    client_ip: ClientIPConfig = msgspec.field(default=ClientIPConfig(), name="clientIP")


class ServiceSpec(Value, frozen=True):
    """The part of a Service's spec that decides where its traffic goes."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""
    publish_not_ready_addresses: bool = False


class Service(Object, frozen=True):
    """A Service: a frontend per cluster IP and port."""

    spec: ServiceSpec = ServiceSpec()

    @property
    def has_client_ip_affinity(self) -> bool:
        """Whether `sessionAffinity` is ClientIP: a client keeps its endpoint."""
        return self.spec.session_affinity == "ClientIP"

    def selects(self, pod: Pod) -> bool:
        """Whether its selector selects a pod: one of its namespace, with the labels. Without a selector it has none."""
        selector, same = self.spec.selector, self.metadata.namespace == pod.metadata.namespace
        return same and bool(selector) and selector.items() <= pod.metadata.labels.items()

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The virtual addresses that weft serves, in canonical form; see `without_frontend`."""
        return () if self.without_frontend else tuple(normalized_address(ip) for ip in self._cluster_ips)

    @property
    def allocated_ips(self) -> tuple[str, ...]:
        """The virtual addresses that the API server allocated to this Service, served by weft or not."""
        return tuple(normalized_address(ip) for ip in self._cluster_ips if ip != "None")

    @property
    def without_frontend(self) -> str:
        """Why weft serves no virtual address of the Service, as a text that follows its name; empty when it does.

        weft ignores a Service that kube-proxy ignores too, in favour of another proxy (KEP-2447).
        """
        if self.without_endpoints:
            return self.without_endpoints
        if PROXY_LABEL in self.metadata.labels:
            return f"is for another proxy by its label {PROXY_LABEL}"
        if "None" in self._cluster_ips:
            return "is headless"
        return "" if self._cluster_ips else "has no cluster IP yet"

    @property
    def without_endpoints(self) -> str:
        """Why the Service can have no endpoints, as a text that follows its name; empty when it can."""
        return "is an ExternalName" if self.spec.type == "ExternalName" else ""

    @property
    def _cluster_ips(self) -> tuple[str, ...]:
        return self.spec.cluster_ips or ((self.spec.cluster_ip,) if self.spec.cluster_ip else ())
