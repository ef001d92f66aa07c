"""Who may connect to a pod: the policies that select it, and what they decide together (GEP-3779)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.ir.identity import Identity
from agent.ir.request_conditions import ANY_REQUEST, RequestConditions
from agent.model.meta import Key

ANY = "*"


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A client that a rule names, of this mesh's trust domain; `name` is `ANY` for all accounts of the namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """For people: `shop/web`."""
        return f"{self.namespace}/{self.name}"

    def includes(self, client: Identity) -> bool:
        """Whether a client has this account. A pod whose service account is not known has none, not even by `ANY`."""
        return (
            self.namespace == client.namespace
            and client.service_account != ""
            and self.name in (ANY, client.service_account)
        )


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A client matches when it is one of `sources` (None: any client, known or not) and dials one of `ports` (empty:
    any port).

    An empty `sources` is not None: a list whose last entry was removed must not allow every client. `conditions` are
    those of an Application policy on each request.
    """

    sources: frozenset[ServiceAccount] | None = None
    ports: frozenset[int] = frozenset()
    conditions: RequestConditions = ANY_REQUEST

    def matches(self, client: Identity | None, port: int) -> bool:
        """Whether a client may connect by this rule; None is a client whose identity is not known."""
        by_port = not self.ports or port in self.ports
        if self.sources is None:
            return by_port
        return by_port and client is not None and any(item.includes(client) for item in self.sources)


@dataclass(frozen=True, slots=True)
class Policy:
    """An AuthorizationPolicy with action ALLOW; without rules it allows nothing.

    `application`: its level is Application, not Network. Its rules are about requests, which waypoints judge: where one
    selects a pod, no other client connects to the pod. The two levels are apart: a client must be admitted by each of
    them that selects the pod.
    """

    key: Key
    rules: tuple[PolicyRule, ...] = ()
    generation: int = 0
    application: bool = False


def ordered(policies: Iterable[Policy]) -> list[Policy]:
    """Those of the level Application first, then by name: where none admits a client, a refusal names the first."""
    return sorted(policies, key=lambda item: (not item.application, item.key))


@dataclass(frozen=True, slots=True)
class Audit:
    """The audited policies that select a pod, sorted, and all that would decide if these were enforced too, `ordered`:
    they replace the default of the mesh then.
    """

    audited: tuple[Key, ...]
    policies: tuple[Policy, ...]


ENFORCE, AUDIT = "enforce", "audit"
ALLOWED, REFUSED = "allowed", "refused"
"""What policies decide, in metrics and logs, and whether they are enforced."""
MOST_NAMES = 16  # in one name of audited or counted policies


def bounded_name(policies: Sequence[Key]) -> str:
    """As `policies_name`; of many policies the first ones, and how many more."""
    more = len(policies) - MOST_NAMES
    return policies_name(policies[:MOST_NAMES]) + (f"+{more}-more" if more > 0 else "")


def policies_name(policies: Iterable[Key]) -> str:
    """Policies in logs and metrics, without spaces: `shop/database+shop/default`, or `MeshParameters/default`."""
    return "+".join(f"{key.namespace or key.kind}/{key.name}" for key in policies)


@dataclass(frozen=True, slots=True)
class GuardedAddress:
    """The address of a protected pod, and what decides who may connect to it.

    - `policies`: those that select the pod, `ordered`, or the default of the mesh for its namespace. One that is not
      known here allows nothing. None: its node protects it by a default that is not known here.
    - `exact`: whether the node of the pod is known to enforce these policies, in these generations. Otherwise it may
      admit other clients.
    - `current`: whether these are the policies that its node enforces, or later generations of them. Otherwise it may
      refuse more clients.
    """

    namespace: str
    policies: tuple[Policy, ...]
    exact: bool = True
    current: bool = True


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """Whether a connection is allowed. `policy` is the first policy that allows it, and `rule` the position of its
    first rule that does. Where none does, `policy` is the first one; None where no policy selects the pod.
    """

    allowed: bool
    policy: Key | None = None
    rule: int | None = None


def decide(policies: Iterable[Policy], client: Identity | None, port: int) -> PolicyVerdict:
    """The verdict of the policies that select a pod on a client's connection to one of its ports.

    Without a policy every connection is allowed; with one, those that a rule of any policy matches; with one of the
    level Application none. The order of `policies` decides which policy the verdict names, not the verdict.
    """
    selecting = list(policies)
    if not selecting:
        return PolicyVerdict(True)
    if closed := [policy.key for policy in selecting if policy.application]:
        return PolicyVerdict(False, closed[0])
    return decide_level(selecting, client, port)


def decide_level(policies: Sequence[Policy], client: Identity | None, port: int) -> PolicyVerdict:
    """The verdict of policies of one level, at least one, on a client: whether a rule matches that may have conditions
    on requests.
    """
    for policy in policies:
        for position, rule in enumerate(policy.rules):
            if rule.matches(client, port):
                return PolicyVerdict(True, policy.key, position)
    return PolicyVerdict(False, policies[0].key)
