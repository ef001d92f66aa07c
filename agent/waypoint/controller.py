"""The node's waypoint: its state machine between the server that configures Envoys and the kernel's tables.

Nothing here waits: what is to be tried on the network is named in `probes`, and its results come in by `answer`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from agent.plan.envoys import Envoy
from agent.plan.resources import Json, ResourceName, ResourceType
from agent.plan.waypoint import Adopted, WaypointState
from agent.waypoint.state_machine import Effects, WaypointStateMachine

log = logging.getLogger(__name__)


class Ads(Protocol):
    """What the controller needs of the server that configures Envoys."""

    @property
    def envoys(self) -> list[Envoy]:
        """Those that are connected."""

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace everything that an Envoy shall have; listeners get their port."""

    def acknowledged_by(self, envoy: Envoy) -> set[ResourceName]:
        """Resources whose published version this Envoy has acknowledged."""


class WaypointController:
    """What Envoys shall have, and what follows from what they say."""

    def __init__(self, ads: Ads, clock: Callable[[], float], adopted: Adopted) -> None:
        self._ads = ads
        self._clock = clock
        self.machine = WaypointStateMachine(adopted, clock())
        self._resources: dict[ResourceName, Json] = {}

    @property
    def state(self) -> WaypointState:
        """Where clients are to be sent."""
        return self.machine.effects.state

    def publish(self, resources: Mapping[ResourceName, Json], needs: Mapping[str, frozenset[ResourceName]]) -> None:
        """Give every Envoy what is wanted and what draining listeners need, as far as there is room."""
        now, machine = self._clock(), self.machine
        machine.connect(self._acknowledged(), now)
        machine.want(needs, now)
        retained = machine.readiness.retained
        old = {name: value for name, value in self._resources.items() if name in retained}
        self._resources = old | dict(resources)
        ports = machine.ports
        listeners = {name for name in self._resources if name.kind is ResourceType.LISTENER and name.name not in ports}
        self._ads.publish(
            {name: value for name, value in self._resources.items() if name not in listeners}, dict(ports)
        )

    def advance(self) -> Effects:
        """What follows from what happened."""
        before = self.state
        self.machine.connect(self._acknowledged(), self._clock())
        effects = self.machine.advance()
        if effects.state.active != before.active and before.active:
            log.info("the waypoint moves", extra={"to": effects.state.active, "was": before.active})
        if effects.state.lost and not before.lost:
            log.error("the waypoint is lost; each service's policy applies")
        return effects

    def _acknowledged(self) -> dict[Envoy, frozenset[ResourceName]]:
        return {envoy: frozenset(self._ads.acknowledged_by(envoy)) for envoy in self._ads.envoys}
