"""The two messages of a delta ADS stream as the state machine has them: names and versions, no bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.ir.resources import ResourceType


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
