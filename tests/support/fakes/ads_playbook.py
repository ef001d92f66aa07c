"""A transcript of the ADS state machine: `>>` is what Envoy sends, `<<` the response that it must get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.messages import Request, Response, Snapshot
from agent.waypoint.stream import Stream

C, E, X, L, R = (
    ResourceType.CLUSTER,
    ResourceType.ENDPOINT,
    ResourceType.EXTENSION,
    ResourceType.LISTENER,
    ResourceType.ROUTE,
)
Versions = Mapping[tuple[ResourceType, str], str]
# Who names which clusters.
LEADS = {
    ResourceName(R, "r"): ("old", "new", "bad", "a"),
    ResourceName(R, "elsewhere"): ("b", "nowhere"),
    ResourceName(L, "bytes"): ("a",),
}

# Bytes of resources, where they matter.
SIZES = {ResourceName(C, name): 3 * 2**20 for name in ("large1", "large2", "large3")}


@dataclass
class Playbook:
    """Plays requests and snapshots to a stream and checks every response, in order."""

    stream: Stream = field(default_factory=Stream)
    responses: list[Response] = field(default_factory=list)
    last: dict[ResourceType, str] = field(default_factory=dict)

    def __rshift__(self, event: Request | Versions) -> "Playbook":
        assert self.responses == [], f"not expected: {self.responses}"
        if isinstance(event, Request):
            self.responses = self.stream.on_request(event)
        else:
            self.responses = self.stream.on_snapshot(
                Snapshot({ResourceName(k, n): v for (k, n), v in event.items()}, LEADS, SIZES)
            )
        return self

    def __lshift__(self, expected: Sequence[Any] | None) -> "Playbook":
        if expected is None:
            assert self.responses == []
            return self
        kind, resources, *removed = expected
        assert self.responses, f"expected {expected}, nothing was said"
        found = self.responses.pop(0)
        assert (found.kind, dict(found.resources), list(found.removed)) == (kind, resources, *(removed or [[]]))
        self.last[kind] = found.nonce
        return self

    def ack(self, kind: ResourceType) -> "Playbook":
        return self >> Request(kind, nonce=self.last[kind])

    def nack(self, kind: ResourceType, error: str) -> "Playbook":
        return self >> Request(kind, nonce=self.last[kind], error=error)
