"""Writes the kernel's tables of authorization: which clients protected pods of this node admit.

A change of a pod's policies writes the grants of a new policy set, and then the pod's row by one write. So no
connection is decided by half of a policy. A set that does not fit leaves its pods refusing all clients.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.budget import Budget
from agent.datapath.authorization_rows import read
from agent.datapath.desired_authorization import DesiredAuthorization
from agent.datapath.diff import diff
from agent.datapath.driver import AuthorizationTables
from agent.datapath.granted_rows import grants_of
from agent.ir.authorization import (
    ALLOW_ALL,
    DENY_ALL,
    NODE_ROW,
    Grant,
    PeerRow,
    ServerPlan,
    policy_set,
)
from agent.ir.tables import address_bytes

_ALLOW_ALL_SET = policy_set(ALLOW_ALL)


class Authorization:
    """Brings the tables in step with what is desired.

    Every method that uses the tables raises `OSError`: then `adopt`, and retry.
    """

    def __init__(self, tables: AuthorizationTables) -> None:
        self._tables = tables
        self._servers: dict[bytes, int] = {}
        self._peers: dict[bytes, PeerRow] = {}
        self._sets: dict[int, frozenset[Grant]] = {}
        # Rows of an earlier agent whose pods this agent may not know yet.
        self._inherited: set[bytes] = set()
        self._node: frozenset[bytes] = frozenset()
        self.rejected: dict[str, str] = {}
        # The number of pods whose grants a budget refuses, by resource and namespace.
        self.refused: Counter[tuple[str, str]] = Counter()
        self.budget = Budget("grants", tables.grants.capacity)

    def adopt(self) -> None:
        """Read the tables."""
        self._servers, self._peers, self._sets = read(self._tables)

    def inherit(self) -> None:
        """Read the tables that an earlier agent left. Its peers stay until `forget_inherited`: those of other nodes
        become known after the policies that name them.
        """
        self.adopt()
        self._inherited = set(self._peers)

    def forget_inherited(self) -> bool:
        """All peers that policies name are known: the next write removes the others. Returns whether it is needed."""
        found, self._inherited = bool(self._inherited), set()
        return found

    def want_node(self, addresses: Iterable[str]) -> bool:
        """Replace the addresses of this node, from which the kubelet probes. Returns whether they changed."""
        before, self._node = self._node, frozenset(map(address_bytes, addresses))
        return self._node != before

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        grants = sum(map(len, self._sets.values()))
        tables = self._tables
        return {
            "servers": (len(self._servers), tables.servers.capacity),
            "peers": (len(self._peers), tables.peers.capacity),
            "grants": (grants, tables.grants.capacity),
        }

    def write(self, desired: DesiredAuthorization) -> bool:
        """Write what is desired. Returns whether the policy set of an address changed: clients that are connected may
        not be admitted any more.

        Addresses at which no pod is protected any more admit every client until `release`, because their guards refuse
        what has no row.
        """
        self.rejected, self.refused = {}, Counter()
        self._write_peers(desired.peers)
        self._charge(desired.servers)
        servers = self._released(desired.servers) | self._protected(desired.servers)
        changed = {address: number for address, number in servers.items() if self._servers.get(address) != number}
        if changed:
            self._tables.servers.upsert(changed)
            self._servers |= changed
        self._delete_sets()
        return bool(changed)

    def release(self, guarded: Iterable[str]) -> None:
        """Delete the rows of all addresses but these, at which guards are."""
        gone = self._servers.keys() - set(map(address_bytes, guarded))
        if gone:
            self._tables.servers.delete(gone)
            self._servers = {address: number for address, number in self._servers.items() if address not in gone}
            self._delete_sets()

    def drift(self) -> int:
        """The number of rows that differ from what was last written. It may run in a thread, while nothing is
        written.
        """
        wanted = {key: True for number, grants in self._sets.items() for key in grants_of(number, grants)}
        servers = diff(self._servers, self._tables.servers.load())
        peers = diff(self._peers, self._tables.peers.load())
        grants = diff(wanted, self._tables.grants.load())
        return len(servers) + len(peers) + len(grants)

    def _write_peers(self, wanted: Mapping[bytes, PeerRow]) -> None:
        desired = {**wanted, **dict.fromkeys(self._node, NODE_ROW)}
        gone = self._peers.keys() - desired.keys() - self._inherited
        if gone:
            self._tables.peers.delete(gone)
        kept = {address: row for address, row in self._peers.items() if address not in gone}
        changed = {address: row for address, row in desired.items() if kept.get(address) != row}
        free = self._tables.peers.capacity - len(kept)
        new = [address for address in changed if address not in kept]
        for address in new[free:]:
            del changed[address]
        if new[free:]:
            left_out = f"{len(new[free:])} more are refused"
            self.rejected["peers"] = f"no room for more than {self._tables.peers.capacity} peers: {left_out}"
        if changed:
            self._tables.peers.upsert(changed)
        self._peers = kept | changed

    def _charge(self, plans: Mapping[int, ServerPlan]) -> None:
        """Charge the grants in the table to the namespaces of the pods that have them."""
        owners = {plan.policy_set: plan.pod.namespace for plan in plans.values()}
        # One row stays free for the set that admits every client.
        self.budget = Budget("grants", self._tables.grants.capacity - len(ALLOW_ALL))
        for number, grants in self._sets.items():
            if number != _ALLOW_ALL_SET:
                self.budget.add(owners.get(number, ""), len(grants))

    def _released(self, plans: Mapping[int, ServerPlan]) -> dict[bytes, int]:
        """The rows of addresses at which no pod is protected any more."""
        gone = self._servers.keys() - {address_bytes(address) for plan in plans.values() for address in plan.addresses}
        if gone:
            self._write_set(_ALLOW_ALL_SET, frozenset(ALLOW_ALL))
        return dict.fromkeys(gone, _ALLOW_ALL_SET)

    def _protected(self, plans: Mapping[int, ServerPlan]) -> dict[bytes, int]:
        """The rows of the addresses of protected pods, as many as fit, after their sets are written."""
        found: dict[bytes, int] = {}
        free = self._tables.servers.capacity - len(self._servers)
        for plan in sorted(plans.values(), key=lambda plan: plan.pod):
            new = [address for address in map(address_bytes, plan.addresses) if address not in self._servers]
            if len(new) > free:
                self._reject(plan, f"no room for more than {self._tables.servers.capacity} addresses of protected pods")
                continue
            free -= len(new)
            number = plan.policy_set if self._has_set(plan) else DENY_ALL
            found |= dict.fromkeys(map(address_bytes, plan.addresses), number)
        return found

    def _reject(self, plan: ServerPlan, reason: str) -> None:
        self.rejected[f"policies of {plan.pod}"] = f"{reason}; the pod refuses all clients"

    def _has_set(self, plan: ServerPlan) -> bool:
        """Whether the grants of a pod are in the table, after an attempt to write them."""
        number, grants = plan.policy_set, frozenset(plan.grants)
        there = self._sets.get(number, frozenset())
        refusal = self.budget.refusal(plan.pod.namespace, len(grants - there))
        if refusal is not None:
            self._reject(plan, str(refusal))
            self.refused[refusal.resource, refusal.namespace] += 1
            return False
        self._write_set(number, grants)
        self.budget.add(plan.pod.namespace, len(grants) - len(there))
        return True

    def _write_set(self, number: int, grants: frozenset[Grant]) -> None:
        """Write the grants of a set that are missing, and delete those that others have added."""
        there = self._sets.get(number, frozenset())
        if grants - there:
            self._tables.grants.upsert(grants_of(number, grants - there))
        if there - grants:
            self._tables.grants.delete(grants_of(number, there - grants))
        self._sets[number] = grants

    def _delete_sets(self) -> None:
        """Delete the grants of sets that no address has, and those that others gave to `DENY_ALL`."""
        used = set(self._servers.values()) - {DENY_ALL}
        for number in self._sets.keys() - used:
            self._write_set(number, frozenset())
            del self._sets[number]
