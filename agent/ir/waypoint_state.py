"""What the two controllers give each other: the node's waypoint as the kernel's tables need it, and what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.ir.addresses import Addresses, Family, family_of

# How long a listener that is not wanted any more stays, for connections that are on their way to it.
LISTENER_GRACE_SECONDS = 30.0

ListenerFamily = tuple[str, Family]
"""A listener at the waypoint's address of a family."""
PortFamily = tuple[int, Family]
"""A port at the waypoint's address of a family."""


@dataclass(frozen=True, slots=True)
class WaypointState:
    """Where clients of routed Services are to be sent. Immutable: a change is another value.

    `active` are the addresses of the Envoy that serves, none where there was none yet; `others` are those of other
    Envoys of the node, the most recently seen first. `ports` are the listeners that have a port, `ready` those of them
    that accepted a connection at `active`, by family. `unavailable` are listeners whose on-loss policy applies to
    clients of a family. Where a listener is neither, its clients stay where the kernel sends them now. `lost`: no Envoy
    is known to serve.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    ready: frozenset[ListenerFamily] = frozenset()
    unavailable: frozenset[ListenerFamily] = frozenset()
    lost: bool = False
    active: Addresses = field(default_factory=Addresses)
    others: tuple[str, ...] = ()

    def changed_listeners(self, before: "WaypointState") -> frozenset[str]:
        """Listeners whose frontends are to be looked at again after this state replaced the other."""
        other_families = bool(before.active) and self.active.families != before.active.families
        moved = self.ready | before.ready if other_families else frozenset()
        changed = moved | (self.ready ^ before.ready) | (self.unavailable ^ before.unavailable)
        return frozenset(listener for listener, _ in changed)

    def is_ready(self, listener: str | None, address: str) -> bool:
        """Whether clients of a frontend with this address can be sent there: a connection keeps its family."""
        return (listener, family_of(address)) in self.ready

    def is_unavailable(self, listener: str | None, address: str) -> bool:
        """Whether the on-loss policy applies to clients of a frontend with this address."""
        return (listener, family_of(address)) in self.unavailable or self.is_elsewhere(listener, address)

    def is_elsewhere(self, listener: str | None, address: str) -> bool:
        """Whether the listener is ready, at an Envoy that has no address of this address's family."""
        return not self.has_family(address) and any((listener, family) in self.ready for family in Family)

    def has_family(self, address: str) -> bool:
        """Whether the active Envoy, if there is one, has an address of this address's family."""
        return not self.active or family_of(address) in self.active.families

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of every Envoy of the node, those on their way in or out too."""
        return (*self.active, *self.others)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an earlier agent left in the kernel's tables of its waypoint. Only `Datapath.take_over` makes one, when the
    tables were read and the frontends that are wanted are known.

    `listener_ports` are the ports of wanted listeners, `other_ports` those that rows name besides. `sent_to` are ports
    that clients are sent to, by family. `lost`: clients are refused since the waypoint was lost; none is sent there.
    """

    active: Addresses = field(default_factory=Addresses)
    others: tuple[str, ...] = ()
    listener_ports: Mapping[str, int] = field(default_factory=dict)
    other_ports: frozenset[int] = frozenset()
    sent_to: frozenset[PortFamily] = frozenset()
    lost: bool = False
