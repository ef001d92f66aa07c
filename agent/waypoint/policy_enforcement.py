"""Which Envoys refuse the clients that policies forbid. Pure.

Other nodes let the connections of this node's waypoint into protected pods when it does.
"""

from collections.abc import Iterable, Mapping

from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType

ENFORCING = (ResourceType.EXTENSION, ResourceType.LISTENER, ResourceType.ROUTE)
"""What Envoy judges clients by."""


class PolicyEnforcement:
    """An Envoy enforces policies once it has acknowledged all listeners, and what they judge clients by: it may have
    been configured by an earlier version of weft, without policies. Later changes are no reason to doubt that.

    A route table that Envoy rejects does not count: one Route must not close the protected pods of all namespaces.
    Envoy keeps the table before, with its policies.
    """

    def __init__(self) -> None:
        self._enforcing: frozenset[Envoy] = frozenset()
        self._connected: frozenset[Envoy] = frozenset()
        self.enforced: bool | None = None
        """Whether all connected Envoys enforce policies. While none is connected, the last answer, because an Envoy
        keeps what it has; None before the first one connects.
        """

    def observe(
        self,
        needs: Iterable[Iterable[ResourceName]],
        acknowledged: Mapping[Envoy, frozenset[ResourceName]],
        rejected: Iterable[ResourceName],
    ) -> None:
        """`needs` are the resources of each published listener; `acknowledged` those of each connected Envoy."""
        self._connected = frozenset(acknowledged)
        doubtful = self._connected - self._enforcing
        if doubtful:
            tables = {name for name in rejected if name.kind is ResourceType.ROUTE}
            wanted = {name for item in needs for name in item if name.kind in ENFORCING} - tables
            self._enforcing |= {envoy for envoy in doubtful if wanted <= acknowledged[envoy]}
        self._enforcing &= self._connected
        if self._connected:
            self.enforced = self._enforcing == self._connected
