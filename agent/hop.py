"""The waypoint as the loop sees it: what its Envoys are told, which of them serves, and which listeners do.

Nothing here waits: what has to be tried on the network is named in `probes`, and its results come in by `took`.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from agent.plan.envoys import Envoy
from agent.plan.resources import Json, ResourceName, ResourceType
from agent.probing import Probe
from agent.reconcile.allocate import REST_SECONDS, FullError, RestingError
from agent.reconcile.budget import CAUTIOUS_ROOM, refused
from agent.reconcile.datapath import Datapath
from agent.reconcile.frontends import Waypoint
from agent.reconcile.gate import Gate
from agent.reconcile.ports import Ports
from agent.reconcile.succession import Succession

log = logging.getLogger(__name__)


class Ads(Protocol):
    """What the loop needs of the server that configures Envoys."""

    @property
    def envoys(self) -> list[Envoy]:
        """Those that are connected."""

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace everything that an Envoy shall have; listeners get their port."""

    def acknowledged_by(self, envoy: Envoy) -> set[ResourceName]:
        """Resources whose published version this Envoy has acknowledged."""


class Hop:
    """The listeners that there shall be, and the Envoys that have them."""

    def __init__(self, ads: Ads, clock: Callable[[], float]) -> None:
        self._ads = ads
        self._clock = clock
        self.gate = Gate()
        self.ports = Ports()
        self.succession = Succession()
        self.lost = False
        self.failures: dict[str, str] = {}
        # What is to be tried on the network now.
        self.probes: frozenset[Probe] = frozenset()
        self._silent = False
        self._assign_again: float | None = None

    @property
    def connected(self) -> bool:
        """Whether an Envoy asks for its configuration."""
        return bool(self._ads.envoys)

    @property
    def view(self) -> Waypoint:
        """The waypoint as the kernel's tables need it."""
        return Waypoint(self.ports.by_listener, frozenset(self.gate.ready), self.lost, frozenset(self.failures))

    def publish(self, resources: Mapping[ResourceName, Json], needs: Mapping[str, frozenset[ResourceName]]) -> set[str]:
        """Give every Envoy what is wanted and what lingers, as far as it fits. Returns the listeners that fit now and
        did not before, or the other way round.
        """
        now = self._clock()
        for listener in self.gate.expire(now):
            self.ports.release(listener, now)
        published = self.gate.want(resources, needs, now)
        self.succession.retract(self.gate.wanted)
        before = self.failures.keys()
        self.failures = self._assign(now)
        ports = self.ports.by_listener
        self._ads.publish(
            {
                name: value
                for name, value in published.items()
                if name.kind is not ResourceType.LISTENER or name.name in ports
            },
            ports,
        )
        return before ^ self.failures.keys()

    def _assign(self, now: float) -> dict[str, str]:
        """Give every listener a port; returns those for which there is no room, with the reason."""
        rooms = [envoy.room for envoy in self._ads.envoys if envoy.room]
        room = min(rooms, default=CAUTIOUS_ROOM)
        self._assign_again = None
        failures = refused(self.gate.listeners, self.ports.by_listener.keys(), room)
        for listener in self.gate.listeners:
            if listener not in failures:
                try:
                    self.ports.assign(listener, now)
                except RestingError:
                    self._assign_again = now + REST_SECONDS
                except FullError as error:
                    failures[listener] = str(error)
        return failures

    @property
    def next_end(self) -> float | None:
        """When a pass is due although nothing happened."""
        ends = (self.gate.next_end, self.succession.next_end, self._assign_again)
        return min((end for end in ends if end is not None), default=None)

    def adopt(self, datapath: Datapath) -> None:
        """Start from what an earlier agent left in the kernel."""
        now, known = self._clock(), datapath.listener_ports()
        self.ports.adopt(known, datapath.waypoint_ports() - set(known.values()), now)
        self.succession.adopt(*datapath.waypoints(), now)
        self.lost = datapath.waypoint_lost()

    def took(self, probe: Probe, accepted: bool | None) -> bool:
        """Take in what a probe found; whether a pass is due now."""
        if probe not in self.probes:
            return False
        if probe.envoy is None:
            self._silent = accepted is False
            return self._silent
        if accepted:
            self.succession.proved[probe.envoy].add(probe.listener)
        return bool(accepted)

    def decide(self, serving: Collection[int]) -> set[str]:
        """Find out who serves and what has to be tried; returns the listeners to look at again.

        `serving` are the ports that clients are sent to now.
        """
        self.succession.see(self._ads.envoys, self._clock())
        revisit = self._succeed(serving)
        present = self.succession.present
        if present is not None:
            self.lost = False
            proved = self.succession.proved[present] - self.gate.ready
            self.gate.ready |= proved
            revisit |= proved
        elif self._silent and serving and self._missing():
            revisit |= self._lose()
        self._silent = False
        self.probes = frozenset(self._to_try(serving))
        return revisit

    def _missing(self) -> bool:
        """Whether there is work for a waypoint and the one that serves is not connected."""
        return bool(self.gate.listeners) and self.succession.present is None and not self.lost

    def _to_try(self, serving: Collection[int]) -> Iterator[Probe]:
        """Listeners for which the serving Envoy or the candidate has acknowledged everything, and which are not proved
        there. And the serving address itself while its Envoy is not connected: a stream may break although Envoy goes
        on serving. It is tried at a port that clients are sent to now; without such a port nobody can lose anything.
        """
        for envoy in filter(None, (self.succession.present, self._candidate(serving))):
            proved = self.gate.ready if envoy.address == self.succession.serving else self.succession.proved[envoy]
            for listener in self.gate.due(self._ads.acknowledged_by(envoy), proved):
                if listener in self.ports.by_listener:
                    yield Probe(envoy.address, self.ports.by_listener[listener], listener, envoy)
        if serving and self._missing():
            yield Probe(self.succession.serving, min(serving))

    def _candidate(self, serving: Collection[int]) -> Envoy | None:
        """The Envoy that is to take over: the newer one, or the newest of all when the serving one is lost, or is not
        connected for a while and no client is sent to it.
        """
        if self.succession.present is None and (self.lost or (self.succession.absent and not serving)):
            return self.succession.newest
        return self.succession.heir

    def _succeed(self, serving: Collection[int]) -> set[str]:
        """Have the candidate take over, when it serves whatever clients are sent to now."""
        candidate = self._candidate(serving)
        if candidate is None:
            return set()
        proved = self.succession.proved[candidate]
        if not set(serving) <= {self.ports.by_listener[name] for name in proved if name in self.ports.by_listener}:
            return set()
        return self._take_over(candidate)

    def _take_over(self, envoy: Envoy) -> set[str]:
        log.info("the waypoint moves", extra={"to": envoy.address, "was": self.succession.serving})
        self.succession.take_over(envoy)
        self.gate.ready = set(self.succession.proved.get(envoy, ()))
        return set(self.gate.listeners)

    def _lose(self) -> set[str]:
        """The one that served is gone. Another takes its place, to prove itself there; else the policies apply."""
        self.gate.lose()
        if self.succession.newest is not None:
            return self._take_over(self.succession.newest)
        log.error("the waypoint is lost; each service's policy applies")
        self.lost = True
        return set(self.gate.listeners)
