"""What the two controllers give each other: the node's waypoint as the kernel's tables need it, and what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent.ir.addresses import Addresses, Family, family_of

# How long a listener that is no longer wanted stays, for connections that were already sent to it.
LISTENER_GRACE_SECONDS = 30.0

ListenerFamily = tuple[str, Family]
"""A listener at the waypoint's address of a family."""
PortFamily = tuple[int, Family]
"""A port at the waypoint's address of a family."""


@dataclass(frozen=True, slots=True)
class WaypointState:
    """Where clients of routed Services are to be sent. Immutable: a change is another value.

    - `active`: the addresses of the active Envoy; none where there was none yet.
    - `others`: the addresses of other Envoys of the node, the most recently seen first.
    - `ports`: the listeners that have a port.
    - `ready`: listeners that accepted a connection at `active`, by family.
    - `unavailable`: listeners whose on-loss policy applies to clients of a family. Where a listener is neither `ready`
      nor `unavailable`, its clients stay where the kernel sends them now.
    - `lost`: no Envoy is known to be active.
    - `connections`: how many connections of clients the Envoys accept; 0: not known.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    ready: frozenset[ListenerFamily] = frozenset()
    unavailable: frozenset[ListenerFamily] = frozenset()
    lost: bool = False
    active: Addresses = field(default_factory=Addresses)
    others: tuple[str, ...] = ()
    connections: int = 0

    def changed_listeners(self, before: "WaypointState") -> frozenset[str]:
        """Listeners whose frontends have to be written again after this state replaced the other."""
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
        """Those of every Envoy of the node, also of a standby and of those that drain."""
        return (*self.active, *self.others)


@dataclass(frozen=True, slots=True)
class ClientsRevoked:
    """Connections to a port of an Envoy that have to end, because policies do not admit their clients any more: those
    of `clients`, which are source addresses, or with `all_but` those of all others.
    """

    address: str
    port: int
    clients: frozenset[str]
    all_but: bool = False

    def merged(self, other: "ClientsRevoked") -> "ClientsRevoked":
        """The connections to the same port that either of both is about."""
        if self.all_but and other.all_but:
            return replace(self, clients=self.clients & other.clients)
        if self.all_but or other.all_but:
            kept, ended = (self, other) if self.all_but else (other, self)
            return replace(kept, clients=kept.clients - ended.clients)
        return replace(self, clients=self.clients | other.clients)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an earlier agent left of its waypoint in the kernel's tables. Only `Datapath.take_over` makes one, when the
    tables were read and the wanted frontends are known.

    - `listener_ports`: the ports of wanted listeners; `other_ports`: other ports in rows.
    - `sent_to`: ports that clients are sent to, by family.
    - `lost`: clients are refused because the waypoint was lost; none is sent there.
    """

    active: Addresses = field(default_factory=Addresses)
    others: tuple[str, ...] = ()
    listener_ports: Mapping[str, int] = field(default_factory=dict)
    other_ports: frozenset[int] = frozenset()
    sent_to: frozenset[PortFamily] = frozenset()
    lost: bool = False
