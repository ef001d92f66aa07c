"""The waypoint as the loop sees it: what its Envoys are told, which of them serves, and which listeners do."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from agent.plan.envoys import Envoy
from agent.plan.plan import Json, ResourceName, Xds
from agent.reconcile.allocate import FullError
from agent.reconcile.budget import CAUTIOUS_ROOM, refused
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


class Prober(Protocol):
    """Who can try whether somebody listens."""

    async def accepts(self, address: str, port: int) -> bool | None:
        """Whether a waypoint takes connections on a port; None when that cannot be told yet."""


class Hop:
    """The listeners that there shall be, and the Envoys that have them."""

    def __init__(self, ads: Ads, prober: Prober, clock: Callable[[], float]) -> None:
        self._ads = ads
        self._prober = prober
        self._clock = clock
        self.gate = Gate()
        self.ports = Ports()
        self.succession = Succession()
        self.lost = False
        self.failures: dict[str, str] = {}

    @property
    def connected(self) -> bool:
        """Whether an Envoy asks for its configuration."""
        return bool(self._ads.envoys)

    @property
    def view(self) -> Waypoint:
        """The waypoint as the kernel's tables need it."""
        return Waypoint(self.ports.by_listener, frozenset(self.gate.ready), self.lost)

    def publish(self, resources: Mapping[ResourceName, Json], needs: Mapping[str, frozenset[ResourceName]]) -> set[str]:
        """Give every Envoy what is wanted and what lingers, as far as it fits. Returns the listeners that fit now and
        did not before, or the other way round.
        """
        now = self._clock()
        for listener in self.gate.expire(now):
            self.ports.release(listener, now)
        published = self.gate.want(resources, needs, now)
        before = self.failures.keys()
        self.failures = self._assign(now)
        ports = self.ports.by_listener
        self._ads.publish(
            {name: value for name, value in published.items() if name.kind is not Xds.LISTENER or name.name in ports},
            ports,
        )
        return before ^ self.failures.keys()

    def _assign(self, now: float) -> dict[str, str]:
        """Give every listener a port; those that get none, with the reason."""
        rooms = [envoy.room for envoy in self._ads.envoys if envoy.room]
        room = min(rooms, default=CAUTIOUS_ROOM)
        failures = refused(self.gate.listeners, self.ports.by_listener.keys(), room)
        for listener in self.gate.listeners:
            if listener not in failures:
                try:
                    self.ports.assign(listener, now)
                except FullError as error:
                    failures[listener] = str(error)
        return failures

    @property
    def waiting(self) -> bool:
        """Whether something has to be tried again although nobody says so."""
        heir = self.succession.heir
        return bool(heir or self._missing() or ((envoy := self.succession.present) and self._due(envoy)))

    def _due(self, envoy: Envoy) -> list[str]:
        """Listeners that an Envoy has everything for, and that have not proved themselves there."""
        serves = envoy.address == self.succession.serving
        proved = self.gate.ready if serves else self.succession.proved.get(envoy, set())
        due = self.gate.due(self._ads.acknowledged_by(envoy), proved)
        return [name for name in due if name in self.ports.by_listener]

    def _missing(self) -> bool:
        """Whether there is work for a waypoint and the one that serves is not connected."""
        return bool(self.gate.listeners) and self.succession.present is None and not self.lost

    async def prove(self, serving: Collection[int]) -> set[str]:
        """Try the listeners that are due, and find out who serves; returns the listeners to look at again.

        `serving` are the ports that clients are sent to now.
        """
        self.succession.see(self._ads.envoys, self._clock())
        revisit = await self._succeed(serving)
        if self.succession.present is not None:
            self.lost = False
            proved = await self._try(self.succession.present)
            self.gate.ready |= proved
            return revisit | proved
        if self._missing() and not await self._answers(serving):
            return revisit | self._lose()
        return revisit

    async def _succeed(self, serving: Collection[int]) -> set[str]:
        """Have the heir take over, when it serves whatever clients are sent to now."""
        heir = self.succession.heir or (self.succession.newest if self.lost else None)
        if heir is None:
            return set()
        proved = self.succession.proved[heir]
        proved |= await self._try(heir)
        if not set(serving) <= {self.ports.by_listener[name] for name in proved if name in self.ports.by_listener}:
            return set()
        return self._take_over(heir)

    def _take_over(self, envoy: Envoy) -> set[str]:
        log.info("the waypoint moves", extra={"to": envoy.address, "was": self.succession.serving})
        self.succession.take_over(envoy)
        self.gate.ready = set(self.succession.proved.get(envoy, ()))
        return set(self.gate.listeners)

    async def _try(self, envoy: Envoy) -> set[str]:
        """The listeners that were due at an Envoy and that accept connections there."""
        due = self._due(envoy)
        ports = [self.ports.by_listener[name] for name in due]
        accepted = await asyncio.gather(*(self._prober.accepts(envoy.address, port) for port in ports))
        return {name for name, good in zip(due, accepted, strict=True) if good}

    def _lose(self) -> set[str]:
        """The one that served is gone. Another takes its place, to prove itself there; else the policies apply."""
        self.gate.lose()
        if self.succession.newest is not None:
            return self._take_over(self.succession.newest)
        log.error("the waypoint is lost; each service's policy applies")
        self.lost = True
        return set(self.gate.listeners)

    async def _answers(self, serving: Collection[int]) -> bool:
        """Whether an Envoy that does not talk to us still serves: its stream may break for reasons of ours.

        Asked of a listener that clients are sent to now; where there is none there is nothing to lose.
        """
        return not serving or await self._prober.accepts(self.succession.serving, min(serving)) is not False
