"""Kinds of the Multi-Cluster Services API (`multicluster.x-k8s.io`, KEP-1645): Services of a whole cluster set."""

from typing import TypeAlias

from agent.model.core import Service, ServicePort, SessionAffinityConfig, normalized_address
from agent.model.meta import Object, Value

GROUP = "multicluster.x-k8s.io"


class ServiceImportSpec(Value, frozen=True):
    """The spec of an imported Service; fields that a Service's spec has too have the same names."""

    type: str = "ClusterSetIP"
    ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""


class ServiceImportStatus(Value, frozen=True):
    """Whether the controller of the import also writes its EndpointSlices: `Present`, `Absent`, or empty."""

    endpoint_slice_objects: str = ""


class ServiceImport(Object, frozen=True):
    """A Service of the cluster set: a frontend per cluster set IP and port, backed by endpoints of every cluster."""

    spec: ServiceImportSpec = ServiceImportSpec()
    status: ServiceImportStatus = ServiceImportStatus()

    @property
    def has_client_ip_affinity(self) -> bool:
        """Whether `sessionAffinity` is ClientIP: a client keeps its endpoint."""
        return self.spec.session_affinity == "ClientIP"

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The cluster set IPs that weft serves, in canonical form; see `without_frontend`."""
        return () if self.without_frontend else tuple(map(normalized_address, self.spec.ips))

    @property
    def without_frontend(self) -> str:
        """Why weft serves no virtual address of the import, as a text that follows its name; empty when it does."""
        if self.spec.type == "Headless":
            return "is headless"
        if self.without_endpoints:
            return self.without_endpoints
        return "" if self.spec.ips else "has no cluster set IP yet"

    @property
    def without_endpoints(self) -> str:
        """Why the endpoints of the import are not known, as a text that follows its name; empty when they can be."""
        absent = self.status.endpoint_slice_objects == "Absent"
        return "has no EndpointSlices (status.endpointSliceObjects is Absent)" if absent else ""


AnyService: TypeAlias = Service | ServiceImport
