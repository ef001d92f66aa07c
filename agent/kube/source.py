"""The source of the agent's objects: a directory of manifests, or the Kubernetes API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from agent.internal_errors import InternalErrors
from agent.kube.account_pods import Accounts
from agent.kube.directory_source import DirectorySource
from agent.kube.node_folder import NodeFolder
from agent.model.change import Change
from agent.model.weft_node import WeftNode


class Source(Interface):
    """A source of objects. Its `Synced` has its name."""

    @property
    def name(self) -> str:
        """The source's name."""

    @property
    def stale(self) -> str:
        """Why the objects may be out of date; empty if they are not."""

    def status(self) -> dict[str, Any]:
        """The source's part of `weft status`."""

    def changes(self) -> AsyncIterator[list[Change]]:
        """All objects, then `Synced`, then changes."""

    def want_accounts(self, accounts: Accounts) -> None:
        """Replace the accounts whose pods are emitted, as `AccountPod`, of whatever node."""

    @property
    def accounts_listed(self) -> bool:
        """Whether all pods of the accounts that are wanted have been emitted, as far as the source can."""

    async def write_weft_node(self, node: WeftNode) -> None:
        """Write this node's WeftNode. Raises `ApiError`, `OSError`, `msgspec.DecodeError`."""


@asynccontextmanager
async def open_source(
    manifests: Path | None,
    kubeconfig: Path | None,
    node: str,
    nodes: Path,
    account_watches: int,
    errors: InternalErrors | None = None,
    *,
    all_nodes: bool = False,
) -> AsyncIterator[Source]:
    """The source of this node's agent: the directory `manifests`, or the API server of `kubeconfig` (None: the service
    account), which watches the pods of at most `account_watches` accounts, and the Node of this node or `all_nodes`.

    With a directory the WeftNodes are files in the folder `nodes`. Without `errors` internal errors are raised. Raises
    `ConfigurationError`.
    """
    if manifests is not None:
        yield DirectorySource(manifests, errors, NodeFolder(nodes, node))
        return
    # An agent with manifests saves the 40 MB and the third of a second that importing the client takes.
    from agent.kube.client import ApiServer  # noqa: PLC0415
    from agent.kube.node_source import NodeSource  # noqa: PLC0415

    async with ApiServer(kubeconfig, f"weft-agent/{metadata.version('weft')}") as api:
        yield NodeSource(api, node, account_watches, errors, all_nodes=all_nodes)
