"""On which nodes pods with a service account run. It changes far less often than these pods."""

from collections import Counter, defaultdict

from agent.model.core import Pod
from agent.model.facts import AccountPod

ANY = "*"
Account = tuple[str, str]


class AccountNodes:
    """The number of pods of each service account, by node; the name `*` counts all accounts of a namespace."""

    def __init__(self) -> None:
        self._pods: dict[Account, Counter[str]] = defaultdict(Counter)

    def replace(self, old: object, new: object) -> set[Account]:
        """Add, replace or remove a pod; returns the accounts that run on other nodes than before."""
        before, after = _counted(old), _counted(new)
        if before == after:
            return set()
        changed: set[Account] = set()
        for (accounts, node), step in ((before, -1), (after, 1)):
            for account in accounts:
                changed |= self._count(account, node, step)
        return changed

    def nodes(self, account: Account) -> frozenset[str]:
        """The nodes on which pods of an account run."""
        return frozenset(self._pods.get(account, ()))

    def _count(self, account: Account, node: str, step: int) -> set[Account]:
        counts = self._pods[account]
        before = counts[node]
        counts[node] += step
        if not counts[node]:
            del counts[node]
        if not counts:
            del self._pods[account]
        return {account} if bool(before) != bool(before + step) else set()


def _counted(value: object) -> tuple[tuple[Account, ...], str]:
    """The accounts that a pod counts for, and its node. Pods of a node's network have no address of their own: no
    waypoint knows them.
    """
    match value:
        case AccountPod(namespace, _, account):
            return ((namespace, account), (namespace, ANY)), value.node
        case Pod() if value.spec.service_account_name and not (value.finished or value.spec.host_network):
            namespace = value.metadata.namespace
            return ((namespace, value.spec.service_account_name), (namespace, ANY)), value.spec.node_name
    return (), ""
