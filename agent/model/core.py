"""Kinds of the core and discovery API groups."""

import ipaddress
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from agent.model.meta import Key, Object, Value

PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
# Set by the kubelet on the mirrors of static pods (k8s.io/kubernetes, pkg/kubelet/types/pod_update.go).
CONFIG_HASH = "kubernetes.io/config.hash"
MIRROR_HASH = "kubernetes.io/config.mirror"
HASH = re.compile(r"[0-9a-f]{32}")
# Whose endpoints a slice has (discovery/v1, KEP-1645). A slice can be both a Service's and its import's.
OWNER_LABELS = {"Service": "kubernetes.io/service-name", "ServiceImport": "multicluster.kubernetes.io/service-name"}

# What kube-controller-manager says of slices that it makes of pods (discovery/v1 LabelManagedBy). One that others write
# for a Service with a selector it deletes at once.
MANAGED_BY, OF_PODS = "endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"

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


class Node(Object, frozen=True):
    """A node; weft reads the labels and addresses of its own."""

    status: NodeStatus = NodeStatus()

    @property
    def zone(self) -> str:
        """The zone that the node is in, empty when nobody said."""
        return self.metadata.labels.get(ZONE_LABEL, "")


class PodIP(Value, frozen=True):
    """One address of a pod."""

    ip: str


class PodSpec(Value, frozen=True):
    """The part of a pod's spec that decides about enrolment."""

    node_name: str = ""
    host_network: bool = False
    runtime_class_name: str = ""
    service_account_name: str = ""


class RuntimeClass(Object, frozen=True):
    """What runs the containers of pods that name it; `handler` is the container runtime's own name of that."""

    handler: str = ""


class PodCondition(Value, frozen=True):
    """One thing that is said of a pod's life; `status` is True, False or Unknown."""

    type: str
    status: str


class PodStatus(Value, frozen=True):
    """Where the pod is and whether it still runs."""

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
    def static_hash(self) -> str:
        """What a static pod's cgroup is named by instead of its uid; empty for every other pod.

        It is the hash of the pod's file; the API has only a mirror of the pod, made by the kubelet, which deletes
        mirrors that others made. No uid has this form, so nobody can point at an ordinary pod by it.
        """
        notes = self.metadata.annotations
        found = notes.get(MIRROR_HASH, "")
        return found if HASH.fullmatch(found) and notes.get(CONFIG_HASH) == found else ""

    @property
    def ready(self) -> bool:
        """Whether the kubelet says that the pod serves."""
        return any(item.type == "Ready" and item.status == "True" for item in self.status.conditions)

    @property
    def finished(self) -> bool:
        """Whether every container has ended, so that the address is free for others."""
        return self.status.phase in ("Succeeded", "Failed")


def shortest(address: str) -> str:
    """An address as others would write it too, IPv4 also where it is v4-mapped; what is none stays, for its schema to
    refuse.
    """
    if ":" not in address:  # there is one way to write IPv4
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or parsed)


class ServicePort(Value, frozen=True):
    """One port of a Service. `target_port` is resolved by EndpointSlices, hence not read."""

    port: Port
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""


class ServiceCIDRSpec(Value, frozen=True):
    """One range of addresses, or one of each IP version."""

    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Object, frozen=True):
    """Where the API server takes Services' cluster IPs from (networking.k8s.io/v1, Kubernetes 1.33)."""

    spec: ServiceCIDRSpec = ServiceCIDRSpec()


class ClientIPConfig(Value, frozen=True):
    """How long a client keeps its endpoint, in seconds."""

    timeout_seconds: Annotated[int, Meta(ge=1, le=86400)] = 10800


class SessionAffinityConfig(Value, frozen=True):
    """Settings of session affinity."""

    client_ip: ClientIPConfig = msgspec.field(default=ClientIPConfig(), name="clientIP")


class ServiceSpec(Value, frozen=True):
    """The part of a Service that decides where its traffic goes."""

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
    def keeps_clients(self) -> bool:
        """Whether a client shall stay with its endpoint."""
        return self.spec.session_affinity == "ClientIP"

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The virtual addresses that are served, as they are written shortest; see `without_frontend`."""
        return () if self.without_frontend else tuple(shortest(ip) for ip in self._cluster_ips)

    @property
    def allocated_ips(self) -> tuple[str, ...]:
        """The virtual addresses that are this Service's and nobody else's, served by weft or not."""
        return tuple(shortest(ip) for ip in self._cluster_ips if ip != "None")

    @property
    def without_frontend(self) -> str:
        """Why no virtual address of a Service is served, to be said after its name; empty when one is.

        What kube-proxy leaves to another proxy (KEP-2447) is left to it here too.
        """
        if self.without_endpoints:
            return self.without_endpoints
        if PROXY_LABEL in self.metadata.labels:
            return f"is another proxy's by its label {PROXY_LABEL}"
        if "None" in self._cluster_ips:
            return "is headless"
        return "" if self._cluster_ips else "has no cluster IP yet"

    @property
    def without_endpoints(self) -> str:
        """Why a Service can have no endpoints, to be said after its name; empty when it can."""
        return "is an ExternalName" if self.spec.type == "ExternalName" else ""

    @property
    def _cluster_ips(self) -> tuple[str, ...]:
        return self.spec.cluster_ips or ((self.spec.cluster_ip,) if self.spec.cluster_ip else ())


class EndpointConditions(Value, frozen=True):
    """Readiness of an endpoint; a missing value is read as the API says: ready, serving, not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TopologyHint(Value, frozen=True):
    """A node or a zone whose clients an endpoint is for."""

    name: str


class EndpointHints(Value, frozen=True):
    """Which clients whoever wrote the slice would send to an endpoint."""

    for_nodes: tuple[TopologyHint, ...] = ()
    for_zones: tuple[TopologyHint, ...] = ()


class Endpoint(Value, frozen=True):
    """One endpoint; only the first address is used (discovery/v1: the others are not defined)."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    zone: str = ""
    hints: EndpointHints = EndpointHints()


class EndpointPort(Value, frozen=True):
    """One port of every endpoint of a slice."""

    name: str = ""
    port: Port | None = None
    protocol: str = "TCP"
    app_protocol: str = ""


class EndpointSlice(Object, frozen=True):
    """Endpoints of the Service, or of the ServiceImport, that its labels name."""

    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def owners(self) -> tuple[Key, ...]:
        """The Service and the ServiceImport, both in the slice's namespace, whose endpoints these are."""
        meta = self.metadata
        named = ((kind, meta.labels.get(label, "")) for kind, label in OWNER_LABELS.items())
        return tuple(Key(kind, meta.namespace, name) for kind, name in named if name)
