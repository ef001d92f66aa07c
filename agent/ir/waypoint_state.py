"""What the two controllers give each other: the node's waypoint as the kernel's tables need it, and what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# How long a listener that is not wanted any more stays, for connections that are on their way to it.
LISTENER_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WaypointState:
    """Where clients of routed Services are to be sent. Immutable: a change is another value.

    `active` is the address of the Envoy that serves, empty where there was none yet; `others` are those of other Envoys
    of the node, the most recently seen first. `ports` are the listeners that have a port, `ready` those of them that
    accepted a connection at `active`. `unavailable` are listeners whose on-loss policy applies. A listener that is
    neither keeps its clients where the kernel sends them now. `lost`: no Envoy is known to serve.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()
    unavailable: frozenset[str] = frozenset()
    lost: bool = False
    active: str = ""
    others: tuple[str, ...] = ()

    def changed_listeners(self, before: "WaypointState") -> frozenset[str]:
        """Listeners whose frontends are to be looked at again after this state replaced the other."""
        other_family = bool(before.active) and (":" in self.active) != (":" in before.active)
        moved = self.ready | before.ready if other_family else frozenset()
        return moved | (self.ready ^ before.ready) | (self.unavailable ^ before.unavailable)

    def has_family(self, address: str) -> bool:
        """Whether clients of this address can be sent to the active Envoy: a connection keeps its family."""
        return not self.active or (":" in self.active) == (":" in address)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of every Envoy of the node, those on their way in or out too."""
        return (self.active, *self.others) if self.active else self.others


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an earlier agent left in the kernel's tables of its waypoint. Only `Datapath.take_over` makes one, when the
    tables were read and the frontends that are wanted are known.

    `listener_ports` are the ports of wanted listeners, `other_ports` those that rows name besides. `sent_to` are ports
    that clients are sent to. `lost`: clients are refused since the waypoint was lost, and none is sent to it.
    """

    active: str = ""
    others: tuple[str, ...] = ()
    listener_ports: Mapping[str, int] = field(default_factory=dict)
    other_ports: frozenset[int] = frozenset()
    sent_to: frozenset[int] = frozenset()
    lost: bool = False
