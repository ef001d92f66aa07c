"""Where an agent learns what exists: a directory of manifests, or the Kubernetes API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from agent.internal_errors import InternalErrors
from agent.kube.collection import node_collections
from agent.kube.directory_source import DirectorySource
from agent.model.change import Change
from agent.model.weft_node import WeftNode


class Source(Interface):
    """Where an agent learns what exists. Its `Synced` bears its name."""

    @property
    def name(self) -> str:
        """What kind of source it is."""

    @property
    def stale(self) -> str:
        """Why what is known may be old, empty when it is not."""

    def report(self) -> dict[str, Any]:
        """What `weft status` shows of it."""

    def changes(self) -> AsyncIterator[list[Change]]:
        """Everything that there is, then `Synced`, then what changes."""

    async def store(self, node: WeftNode) -> None:
        """Store what this node's agent reports. Raises `ApiError`, `OSError`, `msgspec.DecodeError`."""


@asynccontextmanager
async def open_source(
    manifests: Path | None, kubeconfig: Path | None, node: str, node_file: Path, errors: InternalErrors | None = None
) -> AsyncIterator[Source]:
    """The directory `manifests`, or the API server that `kubeconfig` (None: the pod's account) names, for this node.

    With a directory the WeftNode is stored in `node_file`. Without `errors` internal errors are raised. Raises
    `ConfigurationError`.
    """
    if manifests is not None:
        yield DirectorySource(manifests, errors, node_file)
        return
    # An agent of manifests need not spend 40 MB and a third of a second on the client.
    from agent.kube.kubernetes_source import open_kubernetes  # noqa: PLC0415

    agent = f"weft-agent/{metadata.version('weft')}"
    async with open_kubernetes(kubeconfig, agent, node_collections(node), errors) as source:
        yield source
