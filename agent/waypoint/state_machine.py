"""Readiness × failover × loss of the node's waypoint, as one pure state machine: events in, effects out.

Events are levels, not edges: which Envoys are connected and what they acknowledged, which listeners are wanted, which
ports clients are sent to now, the result of a probe. `advance` then returns the effects of all of them. The time is an
argument, and a probe is a value: the caller makes the connection attempt.

Invariants: a frontend is sent to an address and port only where its listener accepted a connection of this agent, or of
the one before, which left it so in the kernel. When another Envoy becomes active, a listener that clients are sent to
has its on-loss policy until it accepts a connection there. The families of addresses are independent: where one does
not work, the Routes of clients of the other one stay in effect.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from agent.datapath.allocate import QUARANTINE_SECONDS, FullError, QuarantinedError
from agent.ir.addresses import Family, family_of
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName
from agent.ir.waypoint_state import Adopted, ListenerFamily, PortFamily, WaypointState
from agent.waypoint.failover import Failover
from agent.waypoint.listener_budget import listener_budget, listener_owner, refused
from agent.waypoint.ports import Ports
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
    """Effects for the caller: probes to make while they are listed, the state for the kernel's tables, and the time to
    advance at when there is no event.
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
        self.rejected_listeners: dict[str, str] = {}
        # Listeners that are desired and have no configuration, because their namespace has no room for it.
        self.unconfigured: Collection[str] = ()
        self.lost = adopted.lost
        self._ports = Ports(adopted.listener_ports, adopted.other_ports, now)
        self.budget = listener_budget(self.ports, ())
        # Until the first `advance` everything stays as it was.
        state = WaypointState(dict(self.ports), lost=adopted.lost, active=adopted.active, others=adopted.others)
        self.effects = Effects(state)
        # Ports that clients are sent to by the last report, and those that were ready in a state given out since.
        self._sent_to: frozenset[PortFamily] = adopted.sent_to
        self._offered: set[PortFamily] = set()
        self._acknowledged: Mapping[Envoy, frozenset[ResourceName]] = {}
        # Listeners that clients were sent to, until they accept at the Envoy that became active since.
        self._interrupted: set[ListenerFamily] = set()
        # Addresses of the active Envoy that accept no connection, while it is not connected.
        self._silent: set[str] = set()
        self._assign_again: float | None = None

    @property
    def ports(self) -> Mapping[str, int]:
        """Listeners that have a port."""
        return self._ports.by_listener

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """The number of listeners for which there is no room, by resource and namespace."""
        return Counter((self.budget.resource, listener_owner(listener)) for listener in self.rejected_listeners)

    @property
    def connected(self) -> list[Envoy]:
        """Envoys that ask for their configuration."""
        return list(self._acknowledged)

    def assign(self, listeners: Collection[str], now: float) -> dict[str, int]:
        """Assign ports to listeners that are to be wanted, as far as capacity allows, and release those of listeners
        whose grace time is over. Returns the ports of all listeners.
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
        # One that left is probed again when it comes back: its port may be another one, and the Envoy may have removed
        # it meanwhile.
        self.failover.retain_accepted({name: self.ports[name] for name in needs if name in self.ports})

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
        """The result of a probe; None: not known yet. Returns whether `advance` has to be called."""
        if probe not in self.effects.probes:
            return False
        if probe.envoy is None:
            (self._silent.add if accepted is False else self._silent.discard)(probe.address)
            return self._silent.issuperset(self.failover.active)
        if accepted:
            self.failover.record_accepted(probe.envoy, probe.listener, probe.port, probe.address)
        return bool(accepted)

    def advance(self) -> Effects:
        """The effects of all events so far."""
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
                frozenset((*self._interrupted, *_in_each_family((*self.rejected_listeners, *self.unconfigured)))),
                self.lost,
                self.failover.active,
                self.failover.others,
                min((envoy.max_connections for envoy in self._acknowledged if envoy.max_connections), default=0),
            ),
            frozenset(self._probes()),
            min((deadline for deadline in deadlines if deadline is not None), default=None),
        )
        return self.effects

    @property
    def ready(self) -> frozenset[ListenerFamily]:
        """Listeners at which the active Envoy accepts, by family, also while its stream is broken."""
        return self.failover.accepting(self.failover.process)

    def phases(self) -> dict[str, Phase]:
        """Where every listener is on its way, by name."""
        probing = {probe.listener for probe in self.effects.probes if probe.envoy == self.failover.process}
        ready = self._accepting_at_every_address(self.failover.process)
        return {name: self.readiness.phase(name, ready, probing) for name in self.readiness.listeners}

    def _accepting_at_every_address(self, envoy: Envoy | None) -> set[str]:
        """Listeners at which an Envoy accepts at each of its addresses."""
        if envoy is None:
            return set()
        accepting = self.failover.accepting(envoy)
        return {
            name for name, _ in accepting if all((name, family) in accepting for family in envoy.addresses.families)
        }

    def _assign(self, listeners: Collection[str], now: float) -> None:
        """Give every listener a port; those for which there is no room are noted with the reason."""
        self._assign_again = None
        self.budget = listener_budget(
            self.ports, [envoy.max_listeners for envoy in self._acknowledged if envoy.max_listeners]
        )
        self.rejected_listeners = refused(listeners, self.ports.keys(), self.budget)
        for listener in sorted(listeners):
            if listener not in self.rejected_listeners:
                try:
                    self._ports.assign(listener, now)
                except QuarantinedError:
                    self._assign_again = now + QUARANTINE_SECONDS
                except FullError as error:
                    self.rejected_listeners[listener] = str(error)

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
        """Whether an Envoy accepts at these ports: in a family that it has no address of, at an address that it has."""
        families = envoy.addresses.families
        accepting = self._ports_of(self.failover.accepting(envoy))
        return all((port, family if family in families else families[0]) in accepting for port, family in required)

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
        """The active Envoy is gone. Another one takes its place and is probed; else every on-loss policy applies."""
        self._interrupt(self._required())
        self.failover.lose()
        newest = self.failover.newest
        if newest is not None:
            self.failover.promote(newest)
        else:
            self.lost = True

    def _interrupt(self, required: Collection[PortFamily]) -> None:
        """Clients were sent to these ports: where the Envoy that is active now accepts at none, policies apply."""
        listeners = {port: listener for listener, port in self.ports.items()}
        self._interrupted |= {(listeners[port], family) for port, family in required if port in listeners}

    def _probes(self) -> Iterator[Probe]:
        """Listeners for which the active Envoy or the candidate has acknowledged everything, and which did not accept
        there yet, at each address. Also the active addresses while their Envoy is not connected: a stream may break
        although Envoy goes on serving. They are probed at a port that clients are sent to; without such a port no
        client can lose its connection.
        """
        for envoy in filter(None, (self.failover.connected, self._candidate())):
            accepting = self.failover.accepting(envoy)
            names = self.readiness.acknowledged(self._acknowledged[envoy], self._accepting_at_every_address(envoy))
            for listener, address in product(names, envoy.addresses):
                if listener in self.ports and (listener, family_of(address)) not in accepting:
                    yield Probe(address, self.ports[listener], listener, envoy)
        if self._is_missed():
            port, _ = min(self._required())
            yield from (Probe(address, port) for address in self.failover.active)


def _in_each_family(listeners: Iterable[str]) -> Iterator[ListenerFamily]:
    return product(listeners, Family)
