"""Pods of other nodes whose service accounts policies name: their collections, and which of them are watched."""

from collections.abc import Iterable, Iterator, Sequence

from agent.internal_errors import InternalErrors
from agent.ir.policy import ANY, ServiceAccount
from agent.kube.collection import Collection
from agent.kube.collection_watcher import CollectionWatcher
from agent.kube.decode import decode_json
from agent.model.change import Keyed, Problem
from agent.model.core import Pod
from agent.model.facts import AccountPod

Accounts = frozenset[ServiceAccount]


def account_pods(pods: Iterable[Pod], account: ServiceAccount) -> Iterator[AccountPod]:
    """The facts about those pods that have an account, and addresses of their own. The account's name can be `ANY`."""
    for pod in pods:
        meta, name = pod.metadata, pod.spec.service_account_name
        is_one = meta.namespace == account.namespace and name != "" and account.name in (ANY, name)
        if is_one and pod.addresses and not (pod.finished or pod.spec.host_network):
            facts = meta.namespace, meta.name, name, pod.addresses, meta.uid, meta.creation_timestamp
            yield AccountPod(*facts, account.name, pod.spec.node_name)


def covering(accounts: Iterable[ServiceAccount]) -> Accounts:
    """The accounts without those that another one with the name `ANY` includes."""
    found = frozenset(accounts)
    return frozenset(it for it in found if it.name == ANY or ServiceAccount(it.namespace, ANY) not in found)


def account_collection(account: ServiceAccount, node: str) -> Collection:
    """The pods with an account on all nodes but this one, whose pods are in the collection of the node."""
    selectors = [f"spec.nodeName!={node}"]
    if account.name != ANY:
        selectors.append(f"spec.serviceAccountName={account.name}")

    def read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
        found = decode_json(raw, "Pod", where)
        return tuple(account_pods([found], account)) if isinstance(found, Pod) else _problem(found)

    return Collection("Pod", ("v1",), read, {"fieldSelector": ",".join(selectors)}, namespace=account.namespace)


def _problem(found: object) -> Problem:
    assert isinstance(found, Problem), found
    return found


class AccountWatchers:
    """A watcher for each account that is wanted, at most `most`. Those that are left out have a name.

    A watcher that is not wanted any more stays while a wanted one of its namespace has not listed its pods: the same
    pods may be in both, and would be unknown meanwhile.
    """

    def __init__(self, node: str, most: int, errors: InternalErrors | None = None) -> None:
        self._node = node
        self._most = most
        self._errors = errors
        self._wanted: Accounts = frozenset()
        self._watchers: dict[ServiceAccount, CollectionWatcher] = {}
        self.left_out: tuple[ServiceAccount, ...] = ()

    @property
    def watchers(self) -> list[CollectionWatcher]:
        """All watchers."""
        return list(self._watchers.values())

    @property
    def listed(self) -> bool:
        """Whether all pods of the wanted accounts have been listed, but for accounts that are left out."""
        return all(it in self._watchers and self._watchers[it].reflector.synced for it in self._wanted)

    def want(self, accounts: Iterable[ServiceAccount]) -> None:
        """Replace the accounts that are wanted. Where they are too many, those that are watched already come first."""
        ordered = sorted(covering(accounts), key=lambda account: (account not in self._watchers, account))
        self._wanted = frozenset(ordered[: self._most])
        self.left_out = tuple(sorted(ordered[self._most :]))

    def start(self) -> list[tuple[str, CollectionWatcher]]:
        """Add the watchers that are missing; returns them, each with its name."""
        added = sorted(self._wanted - self._watchers.keys())
        for account in added:
            self._watchers[account] = CollectionWatcher(account_collection(account, self._node), "v1", self._errors)
        return [(_name(account), self._watchers[account]) for account in added]

    def stop(self) -> list[tuple[str, CollectionWatcher]]:
        """Remove the watchers that are not needed any more; returns them, each with its name."""
        listing = {it.namespace for it in self._wanted if not self._watchers[it].reflector.synced}
        gone = [it for it in self._watchers if it not in self._wanted and it.namespace not in listing]
        return [(_name(account), self._watchers.pop(account)) for account in gone]

    def status(self) -> dict[str, object]:
        """For `weft status`: the state of each watcher, and the accounts without one."""
        states = {str(account): watcher for account, watcher in sorted(self._watchers.items())}
        return {
            "watched": {
                name: {"objects": watcher.reflector.objects, "state": watcher.state} for name, watcher in states.items()
            },
            "leftOut": [str(account) for account in self.left_out],
        }


def _name(account: ServiceAccount) -> str:
    """The name of a watcher's task. No kind has it."""
    return f"pods of {account}"
