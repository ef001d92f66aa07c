"""Who may connect to a pod: the policies that select it, and what they decide together (GEP-3779)."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.ir.identity import Identity
from agent.model.meta import Key

ANY = "*"


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A client that a rule names, of this mesh's trust domain; `name` is `ANY` for all accounts of the namespace."""

    namespace: str
    name: str

    def includes(self, client: Identity) -> bool:
        """Whether a client is meant. A pod whose service account is not known is no account's, not even of `ANY`."""
        return (
            self.namespace == client.namespace
            and client.service_account != ""
            and self.name in (ANY, client.service_account)
        )


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A client matches when it is one of `sources` (None: any client, known or not) and dials one of `ports` (empty:
    any port).

    `sources` and None are kept apart: a list whose last entry was removed must not allow everybody.
    """

    sources: frozenset[ServiceAccount] | None = None
    ports: frozenset[int] = frozenset()

    def matches(self, client: Identity | None, port: int) -> bool:
        """Whether a client may connect by this rule; None is a client whose identity is not known."""
        by_port = not self.ports or port in self.ports
        if self.sources is None:
            return by_port
        return by_port and client is not None and any(item.includes(client) for item in self.sources)


@dataclass(frozen=True, slots=True)
class Policy:
    """An AuthorizationPolicy with action ALLOW; without rules it allows nothing."""

    key: Key
    rules: tuple[PolicyRule, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """Whether a connection is allowed. `policy` is the first that allows it, or the first of those that do not; None
    where no policy selects the pod.
    """

    allowed: bool
    policy: Key | None = None


def decide(policies: Iterable[Policy], client: Identity | None, port: int) -> PolicyVerdict:
    """What the policies that select a pod decide about a client's connection to a port of it.

    Without a policy everything is allowed; with one, what a rule of any of them matches. The order of `policies`
    changes which one is named, not what is decided.
    """
    selecting = list(policies)
    if not selecting:
        return PolicyVerdict(True)
    for policy in selecting:
        if any(rule.matches(client, port) for rule in policy.rules):
            return PolicyVerdict(True, policy.key)
    return PolicyVerdict(False, selecting[0].key)
