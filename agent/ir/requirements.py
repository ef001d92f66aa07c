"""What the policies of a backend's endpoints ask of a client, as the waypoint enforces it for clients of its node."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.ir.identity import Identity
from agent.ir.policy import Policy, ServiceAccount
from agent.model.meta import Key


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """A client must have one of `clients`, which are sorted; without any, no client may connect.

    - `policies`: those of the endpoint, by name; none where they are not known.
    """

    policies: tuple[Key, ...] = ()
    clients: tuple[ServiceAccount, ...] = ()

    @property
    def name(self) -> str:
        """Without spaces, for Envoy's log: `shop/database+shop/default`, or `MeshParameters/default`."""
        return "+".join(f"{key.namespace or key.kind}/{key.name}" for key in self.policies) or "unknown"

    def allows(self, client: Identity | None) -> bool:
        """Whether a client meets it; None is a client whose identity is not known."""
        return client is not None and any(item.includes(client) for item in self.clients)


UNKNOWN = Requirement()
"""Of an endpoint that is protected by policies that this node does not have: no client meets it."""

Requirements = tuple[Requirement, ...]
"""Those of all endpoints of a backend, sorted, each once. Envoy chooses an endpoint after it has judged the request, so
a client must meet all of them; without any every client may connect.
"""


def requirement(policies: Iterable[Policy], port: int) -> Requirement | None:
    """What the policies of a pod ask of clients of one of its ports; None where they admit every client there."""
    selecting = list(policies)
    rules = [rule for policy in selecting for rule in policy.rules if not rule.ports or port in rule.ports]
    if not selecting or any(rule.sources is None for rule in rules):
        return None
    clients = {source for rule in rules for source in rule.sources or ()}
    return Requirement(tuple(sorted(policy.key for policy in selecting)), tuple(sorted(clients)))


def unmet(requirements: Iterable[Requirement], client: Identity | None) -> Requirement | None:
    """The first requirement that a client does not meet."""
    return next((item for item in requirements if not item.allows(client)), None)
