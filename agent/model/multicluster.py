"""Kinds of the Multi-Cluster Services API (`multicluster.x-k8s.io`, KEP-1645): Services of a whole cluster set."""

from typing import TypeAlias

from agent.model.core import Service, ServicePort, SessionAffinityConfig, shortest
from agent.model.meta import Object, Value

GROUP = "multicluster.x-k8s.io"


class ServiceImportSpec(Value, frozen=True):
    """Where an imported Service's traffic goes; what it shares with a Service's spec is called alike."""

    type: str = "ClusterSetIP"
    ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""


class ServiceImportStatus(Value, frozen=True):
    """Whether whoever made the import also writes its EndpointSlices: `Present`, `Absent`, or not said."""

    endpoint_slice_objects: str = ""


class ServiceImport(Object, frozen=True):
    """A Service of the cluster set: a frontend per cluster set IP and port, backed by endpoints of every cluster."""

    spec: ServiceImportSpec = ServiceImportSpec()
    status: ServiceImportStatus = ServiceImportStatus()

    @property
    def keeps_clients(self) -> bool:
        """Whether a client shall stay with its endpoint."""
        return self.spec.session_affinity == "ClientIP"

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """The cluster set IPs that are served, as they are written shortest; see `without_frontend`."""
        return () if self.without_frontend else tuple(map(shortest, self.spec.ips))

    @property
    def without_frontend(self) -> str:
        """Why no virtual address of an import is served, to be said after its name; empty when one is."""
        if self.spec.type == "Headless":
            return "is headless"
        if self.without_endpoints:
            return self.without_endpoints
        return "" if self.spec.ips else "has no cluster set IP yet"

    @property
    def without_endpoints(self) -> str:
        """Why nobody but the import's maker can know its endpoints, to be said after its name; empty when one can."""
        absent = self.status.endpoint_slice_objects == "Absent"
        return "keeps its endpoints to itself (status.endpointSliceObjects is Absent)" if absent else ""


AnyService: TypeAlias = Service | ServiceImport
