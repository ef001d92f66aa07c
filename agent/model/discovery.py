"""EndpointSlices, the kind of the API group discovery.k8s.io."""

from agent.model.core import Port
from agent.model.meta import Key, Object, Value

# The labels with a slice's owner (discovery/v1, KEP-1645). A slice can belong to a Service and to its import.
OWNER_LABELS = {"Service": "kubernetes.io/service-name", "ServiceImport": "multicluster.kubernetes.io/service-name"}

# The label of slices that kube-controller-manager makes from pods (discovery/v1 LabelManagedBy). It deletes such slices
# of others at once, where the Service has a selector.
MANAGED_BY, OF_PODS = "endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"


class EndpointConditions(Value, frozen=True):
    """Readiness of an endpoint; as in the API a missing value means: ready, serving, not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TopologyHint(Value, frozen=True):
    """A node or a zone: an endpoint is for clients there."""

    name: str


class EndpointHints(Value, frozen=True):
    """The nodes and zones that an endpoint is for, set by the controller that wrote the slice."""

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
        """The Service and the ServiceImport of these endpoints, both in the slice's namespace."""
        meta = self.metadata
        named = ((kind, meta.labels.get(label, "")) for kind, label in OWNER_LABELS.items())
        return tuple(Key(kind, meta.namespace, name) for kind, name in named if name)
