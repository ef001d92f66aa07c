"""A transcript of the ADS state machine: `>>` is what Envoy sends, `<<` the response that it must get."""

from dataclasses import dataclass, field

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.messages import Request, Response
from agent.waypoint.stream import Stream

C, E, X, L, R = (
    ResourceType.CLUSTER,
    ResourceType.ENDPOINT,
    ResourceType.EXTENSION,
    ResourceType.LISTENER,
    ResourceType.ROUTE,
)
# Who names which clusters.
LEADS = {
    ResourceName(R, "r"): ("old", "new", "bad", "a"),
    ResourceName(R, "elsewhere"): ("b", "nowhere"),
    ResourceName(L, "bytes"): ("a",),
}


@dataclass
class Playbook:
    """Plays requests and snapshots to a stream and checks every response, in order."""

    stream: Stream = field(default_factory=Stream)
    said: list[Response] = field(default_factory=list)
    last: dict[ResourceType, str] = field(default_factory=dict)

    def __rshift__(self, event):
        assert self.said == [], f"not expected: {self.said}"
        if isinstance(event, Request):
            self.said = self.stream.on_request(event)
        else:
            self.said = self.stream.on_snapshot({ResourceName(k, n): v for (k, n), v in event.items()}, LEADS)
        return self

    def __lshift__(self, expected):
        if expected is None:
            assert self.said == []
            return self
        kind, resources, *removed = expected
        assert self.said, f"expected {expected}, nothing was said"
        found = self.said.pop(0)
        assert (found.kind, dict(found.resources), list(found.removed)) == (kind, resources, *(removed or [[]]))
        self.last[kind] = found.nonce
        return self

    def ack(self, kind):
        return self >> Request(kind, nonce=self.last[kind])

    def nack(self, kind, error):
        return self >> Request(kind, nonce=self.last[kind], error=error)
