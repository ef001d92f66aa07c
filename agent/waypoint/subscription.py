"""What a client of a delta ADS stream wants of one type of resource, and has."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.waypoint.messages import Response


@dataclass(slots=True)
class Subscription:
    """What the client wants of one type and has, the response that it has not answered, and parts of refused responses
    that are to be sent again.
    """

    opened: bool = False
    initial_sent: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    unanswered: Response | None = None
    to_resend: deque[Mapping[str, str]] = field(default_factory=deque)
    reported_absent: set[str] = field(default_factory=set)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names
