"""What goes into the state machine of a delta ADS stream and comes out of it: names and versions, no bytes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from agent.ir.resources import ResourceName, ResourceType


@dataclass(frozen=True, slots=True)
class Request:
    """A DeltaDiscoveryRequest. `initial` are versions that the client has from an earlier stream."""

    kind: ResourceType
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A DeltaDiscoveryResponse: names and versions to send, names to remove."""

    kind: ResourceType
    nonce: str
    resources: Mapping[str, str]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The wanted resources: their versions, the clusters that route tables and listeners name, and sizes in bytes."""

    versions: Mapping[ResourceName, str]
    cluster_refs: Mapping[ResourceName, Collection[str]]
    sizes: Mapping[ResourceName, int]
