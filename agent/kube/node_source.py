"""The agent's source from the Kubernetes API: the node's collections, the reports of nodes, and pods of the
accounts that policies name.
"""

import logging
from typing import Any

from agent.internal_errors import InternalErrors
from agent.kube.account_pods import Accounts, AccountWatchers
from agent.kube.client import ApiServer
from agent.kube.collection import node_collections
from agent.kube.collection_watcher import CollectionWatcher
from agent.kube.kubernetes_source import KubernetesSource
from agent.kube.node_reports import node_reports
from agent.model.change import Change

log = logging.getLogger(__name__)


class NodeSource(KubernetesSource):
    """What one node's agent needs of the API. An account is not watched before it is wanted."""

    def __init__(
        self,
        api: ApiServer,
        node: str,
        account_watches: int,
        errors: InternalErrors | None = None,
        *,
        all_nodes: bool = False,
    ) -> None:
        """At most `account_watches` accounts are watched. Without `errors` internal errors are raised."""
        super().__init__(api, (*node_collections(node, all_nodes=all_nodes), node_reports()), errors)
        self._accounts = AccountWatchers(node, account_watches, errors)
        self._accounts_sent = self._accounts_listed = True

    @property
    def accounts_listed(self) -> bool:
        """Whether all pods of the accounts that are wanted have been emitted, but for accounts that are left out."""
        return self._accounts_listed

    def want_accounts(self, accounts: Accounts) -> None:
        """Replace the accounts whose pods on other nodes are emitted, as `AccountPod`."""
        before = self._accounts.left_out
        self._accounts.want(accounts)
        if (left_out := self._accounts.left_out) and left_out != before:
            names = ",".join(map(str, left_out))
            log.warning(
                "too many accounts in policies, their pods on other nodes are unknown", extra={"accounts": names}
            )
        self._accounts_sent = self._accounts_listed = self._accounts.listed
        self._follow_accounts()

    def status(self) -> dict[str, Any]:
        """The source's part of `weft status`."""
        return super().status() | {"accounts": self._accounts.status()}

    @property
    def _followed(self) -> list[CollectionWatcher]:
        return [*super()._followed, *self._accounts.watchers]

    async def _next(self) -> list[Change]:
        # What was sent has been taken.
        self._accounts_listed = self._accounts_sent
        batch = await super()._next()
        self._accounts_sent = self._accounts.listed
        self._follow_accounts()
        return batch

    def _follow_accounts(self) -> None:
        """Start and stop watchers."""
        for name, watcher in self._accounts.start():
            self._start(name, self._list_and_watch(watcher))
        for name, watcher in self._accounts.stop():
            self._tasks.pop(name).cancel()
            self._batches.put_nowait(watcher.reflector.forget())
