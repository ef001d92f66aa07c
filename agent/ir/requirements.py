"""What the policies of a backend's endpoints ask of a client, as the waypoint enforces it for clients of its node."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.ir.identity import Identity
from agent.ir.policy import Policy, ServiceAccount, bounded_name, policies_name
from agent.ir.request import Request
from agent.ir.request_conditions import ANY_REQUEST, RequestConditions
from agent.model.meta import Key


@dataclass(frozen=True, slots=True, order=True)
class RequestRule:
    """Requests that meet `conditions`, of one of `clients`, which are sorted, or of `anyone`."""

    conditions: RequestConditions
    clients: tuple[ServiceAccount, ...] = ()
    anyone: bool = False

    def is_for(self, client: Identity | None) -> bool:
        """Whether it says something about a client; None is one whose identity is not known."""
        return self.anyone or _is_among(self.clients, client)


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """A client must have one of `clients`, which are sorted, or else its request must match one of `rules`. Without any
    of both no client may connect.

    - `policies`: those of the endpoint, by name; none where they are not known.
    """

    policies: tuple[Key, ...] = ()
    clients: tuple[ServiceAccount, ...] = ()
    rules: tuple[RequestRule, ...] = ()

    @property
    def name(self) -> str:
        """For Envoy's log."""
        return policies_name(self.policies) or "unknown"

    def allows(self, client: Identity | None, request: Request | None = None) -> bool:
        """Whether a client's request meets it, or where there is none a connection whose bytes Envoy does not read."""
        if _is_among(self.clients, client):
            return True
        return request is not None and any(rule.is_for(client) and rule.conditions.hold(request) for rule in self.rules)

    def conditions_for(self, client: Identity | None) -> frozenset[RequestConditions]:
        """What requests of a client meet it: those that have all of one of these; none where no rule is for the
        client.
        """
        if _is_among(self.clients, client):
            return frozenset({ANY_REQUEST})
        return frozenset(rule.conditions for rule in self.rules if rule.is_for(client))

    def missed(self, client: Identity | None, request: Request | None = None) -> str:
        """What a request lacks that it refuses, for people: by the rule for the client that comes nearest. Empty where
        no rule is for the client.
        """
        conditions = [rule.conditions for rule in self.rules if rule.is_for(client)]
        if not conditions:
            return ""
        if request is None:
            return "its rules for this client are about HTTP requests"
        return min((" and ".join(item.missed(request)) for item in conditions), key=lambda text: text.count(" and "))


UNKNOWN = Requirement()
"""Of an endpoint that is protected by policies that this node does not have: no client meets it."""

Requirements = tuple[Requirement, ...]
"""Those of all endpoints of a backend, sorted, each once. Envoy chooses an endpoint after it has judged the request, so
a client must meet all of them; without any every client may connect.
"""


@dataclass(frozen=True, slots=True, order=True)
class AuditedRequirements:
    """What would be required if the `audited` policies of an endpoint, which are sorted, were enforced too."""

    audited: tuple[Key, ...]
    requirements: Requirements = ()

    @property
    def name(self) -> str:
        """For metrics and logs."""
        return bounded_name(self.audited)


def requirements(policies: Iterable[Policy], port: int) -> Requirements:
    """What the policies of a pod ask of clients of one of its ports: one for each level that does not admit all."""
    found = list(policies)
    levels = ([policy for policy in found if policy.application is level] for level in (True, False))
    return tuple(sorted(item for level in levels if (item := requirement(level, port)) is not None))


def requirement(policies: Iterable[Policy], port: int) -> Requirement | None:
    """What the policies of one level ask together; None where they admit every client there."""
    selecting = list(policies)
    rules = [rule for policy in selecting for rule in policy.rules if not rule.ports or port in rule.ports]
    always = [rule.sources for rule in rules if rule.conditions == ANY_REQUEST]
    if not selecting or None in always:
        return None
    clients = {source for sources in always for source in sources or ()}
    conditional = {
        RequestRule(rule.conditions, tuple(sorted(rule.sources or ())), rule.sources is None)
        for rule in rules
        if rule.conditions != ANY_REQUEST and rule.sources != frozenset()
    }
    keys = tuple(sorted(policy.key for policy in selecting))
    return Requirement(keys, tuple(sorted(clients)), tuple(sorted(conditional)))


def unmet(found: Iterable[Requirement], client: Identity | None, request: Request | None = None) -> Requirement | None:
    """The first requirement that a client does not meet, with a request or a connection."""
    return next((item for item in found if not item.allows(client, request)), None)


def narrowed(before: Requirements, after: Requirements, client: Identity | None) -> bool:
    """Whether a client may have had a request admitted by requirements that those that replaced them refuse.

    It may be said where none is: a rule is compared with each rule, not with several together.
    """
    had = [item.conditions_for(client) for item in before] or [frozenset({ANY_REQUEST})]
    has = [item.conditions_for(client) for item in after]
    return not all(any(_cover(found, one) for one in had) for found in has)


def _cover(found: frozenset[RequestConditions], others: frozenset[RequestConditions]) -> bool:
    return all(any(item.cover(other) for item in found) for other in others - found)


def _is_among(accounts: Iterable[ServiceAccount], client: Identity | None) -> bool:
    return client is not None and any(item.includes(client) for item in accounts)
