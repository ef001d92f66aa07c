"""What the kernel knows of authorization: which clients a protected pod admits, as rows of its tables.

Three tables decide at the server's end. `weft_servers` has the policy set of each protected address, `weft_peers` the
identities of each source address, `weft_grants` what a policy set admits. Addresses are 16 bytes, as in `ir/tables.py`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from agent.ir.identity import kind_id
from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount
from agent.model.meta import Key

ANY_CLIENT = 0
"""The identity in a grant for every client, also for those that `weft_peers` does not have."""
ANY_PORT = 0
DENY_ALL = 0
"""The policy set without grants. No other policy set has this id."""
NODE = kind_id("node", "this")
"""The identity of the addresses of this node, from which the kubelet probes its pods."""


WAYPOINTS = kind_id("waypoints", ANY)
"""The identity that the waypoints of all nodes have."""


def waypoint_id(node: str) -> int:
    """The identity of the waypoints of a node: they speak for the pods of that node."""
    return kind_id("waypoint", node)


def account_id(namespace: str, name: str) -> int:
    """The identity of a service account; with the name `ANY`, that which all accounts of the namespace have."""
    return kind_id("service account", f"{namespace}/{name}")


@dataclass(frozen=True, slots=True, order=True)
class PeerRow:
    """`weft_peers`: source address → this. A client has two identities: its service account, and its namespace."""

    account_id: int
    namespace_id: int


def peer_row(namespace: str, account: str) -> PeerRow:
    """The row of a pod with this service account."""
    return PeerRow(account_id(namespace, account), account_id(namespace, ANY))


def waypoint_row(node: str) -> PeerRow:
    """The row of the waypoints of a node."""
    return PeerRow(waypoint_id(node), WAYPOINTS)


NODE_ROW = PeerRow(NODE, NODE)


@dataclass(frozen=True, slots=True, order=True)
class DestinationRow:
    """`weft_destinations`: address of a protected pod → this. `policy` is the index of the policy that a refusal
    names.
    """

    policy_set: int
    policy: int


def policy_index(policy: Key) -> int:
    """The index of a policy in events and flows: 24 bits of a hash of its name, never 0. It is the same after every
    restart. With a thousand policies the chance that two have the same index is 3 %: then a refusal names both.
    """
    return kind_id(policy.kind, f"{policy.namespace}/{policy.name}") & 0xFFFFFF or 1


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A client with this identity, or `ANY_CLIENT`, is admitted at this port, or `ANY_PORT`."""

    identity: int
    port: int


@dataclass(frozen=True, slots=True, order=True)
class GrantKey:
    """`weft_grants`: the rows that exist are the grants of each policy set."""

    policy_set: int
    identity: int
    port: int


class VerdictCounts(NamedTuple):
    """`weft_verdicts`: address of a pod → how many connections and datagrams policies allowed and refused, and how many
    they would if audited policies were enforced too.
    """

    allowed: int = 0
    refused: int = 0
    audit_allowed: int = 0
    audit_refused: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """A protected pod as clients of this node connect to it: what its policies admit, and the policy that a refusal
    names.
    """

    grants: tuple[Grant, ...]
    policy: Key

    @property
    def row(self) -> DestinationRow:
        """The row of its addresses."""
        return DestinationRow(policy_set(self.grants), policy_index(self.policy))


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """A protected pod of this node: one that policies select.

    - `addresses`: its own, none before it has one.
    - `grants`: what its policies admit together, with the probes of the kubelet; sorted. None: it refuses all clients.
    - `policies`: those that select it, in the `generations` that are in force.
    - `sources`: the service accounts that its policies name.
    """

    pod: Key
    addresses: tuple[str, ...]
    grants: tuple[Grant, ...]
    policies: tuple[Key, ...]
    sources: frozenset[ServiceAccount] = frozenset()
    generations: tuple[int, ...] = ()

    @property
    def destination(self) -> Destination:
        """The pod as clients of this node connect to it."""
        return Destination(self.grants, self.policies[0])

    @property
    def policy_set(self) -> int:
        """The id of its grants, by their content: pods with the same grants share one set. Never half of it is in
        force, because another content is another set.
        """
        return policy_set(self.grants)


@dataclass(frozen=True, slots=True)
class UnsupportedPod:
    """A pod of this node that policies select, and at which the kernel cannot enforce them."""

    pod: Key
    policies: tuple[Key, ...]
    generations: tuple[int, ...]
    reason: str


def policy_set(found: Iterable[Grant]) -> int:
    """The id of a set of grants in their order; `DENY_ALL` where there are none."""
    content = b"".join(grant.identity.to_bytes(8, "little") + grant.port.to_bytes(2, "little") for grant in found)
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1 if content else DENY_ALL


ALLOW_ALL = (Grant(ANY_CLIENT, ANY_PORT),)
"""The grants of a pod that no policy selects any more, until its guard is removed."""


WaypointsOf = Callable[[PolicyRule], Iterable[int]]
"""The identities of the waypoints of the clients that a rule admits."""


def grants(
    policies: Iterable[Policy], probe_ports: Iterable[int], waypoints: WaypointsOf = lambda _: ()
) -> tuple[Grant, ...]:
    """The grants of the policies that select a pod, and of the probes of its kubelet; sorted.

    A rule also admits the waypoints of its clients, which judge these by the same policies. Of a pod with a policy of
    the level Application only they are admitted: those that each level admits.
    """
    found = list(policies)
    application = [policy for policy in found if policy.application]
    network = [policy for policy in found if not policy.application]
    if not application:
        allowed = _grants_of(network, lambda rule: _clients(rule, waypoints))
    elif not network:
        allowed = _grants_of(application, waypoints)
    else:
        allowed = _by_both(_grants_of(application, waypoints), _grants_of(network, waypoints))
    return tuple(sorted({*allowed, *(Grant(NODE, port) for port in probe_ports)}))


def _clients(rule: PolicyRule, waypoints: WaypointsOf) -> Iterable[int]:
    if rule.sources is None:
        return (ANY_CLIENT,)
    return (*(account_id(source.namespace, source.name) for source in rule.sources), *waypoints(rule))


def _grants_of(policies: Iterable[Policy], identities: WaypointsOf) -> set[Grant]:
    rules = [rule for policy in policies for rule in policy.rules]
    return {Grant(one, port) for rule in rules for one in identities(rule) for port in rule.ports or {ANY_PORT}}


def _by_both(*levels: set[Grant]) -> set[Grant]:
    """What two sets of grants for waypoints both admit. A grant for `WAYPOINTS` is one for those of each node."""
    by_identity: list[dict[int, set[int]]] = [defaultdict(set), defaultdict(set)]
    for found, level in zip(by_identity, levels, strict=True):
        for grant in level:
            found[grant.identity].add(grant.port)
    allowed: set[Grant] = set()
    for identity in {grant.identity for level in levels for grant in level}:
        one, other = (found.get(identity, set()) | found.get(WAYPOINTS, set()) for found in by_identity)
        both = (port for port in one | other if all({port, ANY_PORT} & ports for ports in (one, other)))
        allowed |= {Grant(identity, port) for port in both}
    return allowed


def admits(plan_grants: Iterable[Grant], peer: PeerRow | None, port: int) -> bool:
    """Whether grants admit a client at a port, as the kernel decides; None: a source address without a row."""
    identities = {ANY_CLIENT} | ({peer.account_id, peer.namespace_id} if peer else set())
    return any(grant.identity in identities and grant.port in (ANY_PORT, port) for grant in plan_grants)
