"""What policies decided at addresses of this node's pods, as the kernel counts it, by policies.

The kernel counts by address, while no agent runs too. The agent adds what is new to the policies that the address has.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from agent.datapath.driver import Table
from agent.ir.authorization import ServerPlan, VerdictCounts
from agent.ir.policy import ALLOWED, AUDIT, ENFORCE, REFUSED, bounded_name
from agent.ir.tables import address_bytes

# Combinations of policies with counts of their own, first come, first served.
MOST_COMBINATIONS = 200
OTHER = "other"  # where the rest is counted


class PolicyVerdicts(NamedTuple):
    """Policies, as in `policies_name`, what they decided, and whether they are enforced."""

    policy: str
    verdict: str
    mode: str


class Combinations:
    """The combinations of policies that have counts of their own."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, policy: str) -> str:
        """The combination; `OTHER` for those that have come since there are too many."""
        if len(self._known) < MOST_COMBINATIONS:
            self._known.add(policy)
        return policy if policy in self._known else OTHER


class Verdicts:
    """The sums since this agent started. Methods raise `OSError`; no count is lost by that."""

    def __init__(self, table: Table[bytes, VerdictCounts]) -> None:
        self._table = table
        self._seen: dict[bytes, VerdictCounts] = {}
        # By address: the policies that are enforced there, and those that are audited; empty where there are none.
        self._owners: dict[bytes, tuple[str, str]] = {}
        self._combinations = Combinations()
        self.totals: Counter[PolicyVerdicts] = Counter()

    def want(self, servers: Mapping[int, ServerPlan], audited: Mapping[int, ServerPlan]) -> None:
        """Count at the addresses of these pods alone, as many as fit. What an earlier agent left is added to the
        policies of these.
        """
        self.read()
        enforced, tried = _by_address(servers), _by_address(audited)
        wanted = {at: (enforced.get(at, ""), tried.get(at, "")) for at in (*enforced, *tried)}
        owners = dict(islice(wanted.items(), self._table.capacity))
        if owners == self._owners:
            return
        there = self._table.load().keys()
        self._table.delete(there - owners.keys())
        self._table.upsert({address: VerdictCounts() for address in owners if address not in there})
        self._seen = {address: counts for address, counts in self._seen.items() if address in owners}
        self._owners = owners

    def audited_at(self, address: bytes) -> str | None:
        """The policies that are audited at an address."""
        return self._owners.get(address, ("", ""))[1] or None

    def read(self) -> None:
        """Add what the kernel has counted since."""
        if not self._owners:
            return
        for address, counts in self._table.load().items():
            if address not in self._owners:
                continue
            before = self._seen.get(address, VerdictCounts())
            self._seen[address] = counts
            for labels, now, then in zip(_labels(*self._owners[address]), counts, before, strict=True):
                if now > then and labels.policy:
                    self.totals[labels._replace(policy=self._combinations.bounded(labels.policy))] += now - then


def _labels(enforced: str, audited: str) -> Iterator[PolicyVerdicts]:
    """In the order of `VerdictCounts`."""
    for policy, mode in ((enforced, ENFORCE), (audited, AUDIT)):
        for verdict in (ALLOWED, REFUSED):
            yield PolicyVerdicts(policy, verdict, mode)


def _by_address(plans: Mapping[int, ServerPlan]) -> dict[bytes, str]:
    """The policies of pods by address, as in `policies_name`; of many, the first ones and how many more."""
    found: dict[bytes, str] = {}
    for plan in plans.values():
        found |= dict.fromkeys(map(address_bytes, plan.addresses), bounded_name(plan.policies))
    return found
