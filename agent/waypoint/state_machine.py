"""Readiness × failover × loss of the node's waypoint, as one pure state machine: events in, effects out.

Events are levels, not edges: which Envoys are connected and what they acknowledged, which listeners are wanted, which
ports clients are sent to now, what a probe found. `advance` then returns what follows from all of them. A clock's time
is an argument, a probe is a value that others carry out.

What it keeps: a frontend is sent to an address and port only where its listener was proved there, by this agent or by
the one before, which left it so in the kernel. A listener that clients are sent to and that is not proved at the Envoy
that becomes active has its on-loss policy until it is. Each family of addresses is by itself in all of this: one that
does not work does not keep clients of the other one from their Routes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from agent.datapath.allocate import QUARANTINE_SECONDS, FullError, QuarantinedError
from agent.ir.addresses import Family, family_of
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName
from agent.ir.waypoint_state import Adopted, ListenerFamily, PortFamily, WaypointState
from agent.waypoint.failover import Failover
from agent.waypoint.ports import Ports
from agent.waypoint.quota import CAUTIOUS_ROOM, refused
from agent.waypoint.readiness import ListenerReadiness, Phase


@dataclass(frozen=True, slots=True)
class Probe:
    """An attempt to connect to a listener of an Envoy. Without an Envoy it asks whether the address, whose Envoy is not
    connected to the agent, still accepts clients.
    """

    address: str
    port: int
    listener: str = ""
    envoy: Envoy | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """What is to be done: probes to carry out until they are not named any more, the state for the kernel's tables, and
    when to advance although nothing happens.
    """

    state: WaypointState
    probes: frozenset[Probe] = frozenset()
    deadline: float | None = None


class WaypointStateMachine:
    """The waypoint of one node. Times are seconds of one monotonic clock."""

    def __init__(self, adopted: Adopted, now: float) -> None:
        """Start from what an earlier agent left in the kernel."""
        self.readiness = ListenerReadiness()
        self.failover = Failover(adopted.active, adopted.others, now)
        self.without_room: dict[str, str] = {}
        self.lost = adopted.lost
        self._ports = Ports(adopted.listener_ports, adopted.other_ports, now)
        # Until the first `advance` everything stays as it was.
        state = WaypointState(dict(self.ports), lost=adopted.lost, active=adopted.active, others=adopted.others)
        self.effects = Effects(state)
        # Ports that clients are sent to by the last report, and those that were ready in a state given out since.
        self._sent_to: frozenset[PortFamily] = adopted.sent_to
        self._offered: set[PortFamily] = set()
        self._acknowledged: Mapping[Envoy, frozenset[ResourceName]] = {}
        # Listeners that clients were sent to, until they are proved at the Envoy that became active since.
        self._interrupted: set[ListenerFamily] = set()
        # Addresses of the active Envoy that accept nobody, while it is not connected.
        self._silent: set[str] = set()
        self._assign_again: float | None = None

    @property
    def ports(self) -> Mapping[str, int]:
        """Listeners that have a port."""
        return self._ports.by_listener

    @property
    def connected(self) -> list[Envoy]:
        """Envoys that ask for their configuration."""
        return list(self._acknowledged)

    def assign(self, listeners: Collection[str], now: float) -> dict[str, int]:
        """Listeners that are to be wanted get their ports, as far as there is room, and those whose grace time is over
        give theirs back. Returns the ports of all listeners.
        """
        for listener in self.readiness.expire(now):
            self._ports.release(listener, now)
        self._assign({*self.readiness.listeners, *listeners}, now)
        return dict(self.ports)

    def want(self, needs: Mapping[str, frozenset[ResourceName]], now: float) -> None:
        """Replace the listeners that are wanted, each with the resources that it depends on, itself among them. They
        are published at the ports that `assign` gave them.
        """
        self.readiness.want(needs, now)
        # One that left has to prove itself anew when it comes back: its port may be another one, and the Envoy may have
        # removed it meanwhile.
        self.failover.keep_proofs({name: self.ports[name] for name in needs if name in self.ports})

    def connect(self, acknowledged: Mapping[Envoy, frozenset[ResourceName]], now: float) -> None:
        """Which Envoys are connected, each with what it acknowledged of what is published for the wanted listeners."""
        process, required = self.failover.process, self._required()
        self._acknowledged = acknowledged
        self.failover.connect(acknowledged, now)
        if process is not None and process != self.failover.process:
            self._interrupt(required)

    def send_to(self, ports: Collection[PortFamily], state: WaypointState) -> None:
        """Ports of the waypoint that the kernel sends clients to, by family, once this state is written to it."""
        self._sent_to = frozenset(ports)
        if state == self.effects.state:
            self._offered = set()

    def answer(self, probe: Probe, accepted: bool | None) -> bool:
        """What a probe found; None: that cannot be told yet. Returns whether something follows from it."""
        if probe not in self.effects.probes:
            return False
        if probe.envoy is None:
            (self._silent.add if accepted is False else self._silent.discard)(probe.address)
            return self._silent.issuperset(self.failover.active)
        if accepted:
            self.failover.prove(probe.envoy, probe.listener, probe.port, probe.address)
        return bool(accepted)

    def advance(self) -> Effects:
        """What follows from everything that happened."""
        self._fail_over()
        wanted = set(_in_each_family(self.readiness.wanted))
        self._interrupted |= wanted if self.lost else set()
        self._interrupted &= wanted - self.ready
        self._offered |= self._ports_of(self.ready)
        deadlines = (self.readiness.deadline, self.failover.deadline, self._assign_again)
        self.effects = Effects(
            WaypointState(
                dict(self.ports),
                self.ready,
                frozenset((*self._interrupted, *_in_each_family(self.without_room))),
                self.lost,
                self.failover.active,
                self.failover.others,
            ),
            frozenset(self._probes()),
            min((deadline for deadline in deadlines if deadline is not None), default=None),
        )
        return self.effects

    @property
    def ready(self) -> frozenset[ListenerFamily]:
        """Listeners that the active Envoy has proved, by family, also while its stream is broken."""
        return self.failover.proved(self.failover.process)

    def phases(self) -> dict[str, Phase]:
        """Where every listener is on its way, by name."""
        probing = {probe.listener for probe in self.effects.probes if probe.envoy == self.failover.process}
        ready = self._proved_everywhere(self.failover.process)
        return {name: self.readiness.phase(name, ready, probing) for name in self.readiness.listeners}

    def _proved_everywhere(self, envoy: Envoy | None) -> set[str]:
        """Listeners that an Envoy has proved at each of its addresses."""
        if envoy is None:
            return set()
        proved = self.failover.proved(envoy)
        return {name for name, _ in proved if all((name, family) in proved for family in envoy.addresses.families)}

    def _assign(self, listeners: Collection[str], now: float) -> None:
        """Give every listener a port; those for which there is no room are noted with the reason."""
        rooms = [envoy.room for envoy in self._acknowledged if envoy.room]
        self._assign_again = None
        self.without_room = refused(listeners, self.ports.keys(), min(rooms, default=CAUTIOUS_ROOM))
        for listener in sorted(listeners):
            if listener not in self.without_room:
                try:
                    self._ports.assign(listener, now)
                except QuarantinedError:
                    self._assign_again = now + QUARANTINE_SECONDS
                except FullError as error:
                    self.without_room[listener] = str(error)

    def _ports_of(self, listeners: Collection[ListenerFamily]) -> frozenset[PortFamily]:
        return frozenset((self.ports[listener], family) for listener, family in listeners)

    def _required(self) -> frozenset[PortFamily]:
        """Ports that clients are sent to, or may be by a state that was given out."""
        return self._sent_to | self._offered | self._ports_of(self.ready)

    def _fail_over(self) -> None:
        """Promote the candidate when it serves whatever clients are sent to; lose the active one when it is silent."""
        candidate = self._candidate()
        if candidate and self._serves(candidate, self._required()):
            self.failover.promote(candidate)
        if self.failover.connected is not None:
            self.lost = False
        elif self._silent.issuperset(self.failover.active) and self._is_missed():
            self._lose()
        if not self._is_missed():
            self._silent.clear()

    def _serves(self, envoy: Envoy, required: Collection[PortFamily]) -> bool:
        """Whether an Envoy proved these ports: in a family that it has no address of, at an address that it has."""
        families = envoy.addresses.families
        proved = self._ports_of(self.failover.proved(envoy))
        return all((port, family if family in families else families[0]) in proved for port, family in required)

    def _candidate(self) -> Envoy | None:
        """The Envoy that is to take over: the newer one, or the newest of all when the active one is lost, or is not
        connected for a while and no client is sent to it.
        """
        if self.failover.connected is None and (self.lost or (self.failover.absent and not self._required())):
            return self.failover.newest
        return self.failover.standby

    def _is_missed(self) -> bool:
        """Whether clients are sent to the active Envoy, and it is not connected."""
        return bool(self._required()) and self.failover.connected is None and not self.lost

    def _lose(self) -> None:
        """The active Envoy is gone. Another takes its place, to prove itself there; else every policy applies."""
        self._interrupt(self._required())
        self.failover.lose()
        newest = self.failover.newest
        if newest is not None:
            self.failover.promote(newest)
        else:
            self.lost = True

    def _interrupt(self, required: Collection[PortFamily]) -> None:
        """Clients were sent to these ports: where the Envoy that is active now proved none, policies apply."""
        listeners = {port: listener for listener, port in self.ports.items()}
        self._interrupted |= {(listeners[port], family) for port, family in required if port in listeners}

    def _probes(self) -> Iterator[Probe]:
        """Listeners for which the active Envoy or the candidate has acknowledged everything, and which are not proved
        there, at each address. And the active addresses themselves while their Envoy is not connected: a stream may
        break although Envoy goes on serving. They are tried at a port that clients are sent to; without such a port
        nobody can lose anything.
        """
        for envoy in filter(None, (self.failover.connected, self._candidate())):
            proved = self.failover.proved(envoy)
            names = self.readiness.acknowledged(self._acknowledged[envoy], self._proved_everywhere(envoy))
            for listener, address in product(names, envoy.addresses):
                if listener in self.ports and (listener, family_of(address)) not in proved:
                    yield Probe(address, self.ports[listener], listener, envoy)
        if self._is_missed():
            port, _ = min(self._required())
            yield from (Probe(address, port) for address in self.failover.active)


def _in_each_family(listeners: Iterable[str]) -> Iterator[ListenerFamily]:
    return product(listeners, Family)
