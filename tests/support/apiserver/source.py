"""A running Kubernetes source."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.kube.client import ApiServer
from agent.kube.node_source import NodeSource
from support.apiserver.objects import Follower


@asynccontextmanager
async def following(kubeconfig: Path, node: str = "n1", account_watches: int = 9) -> AsyncIterator[Follower]:
    """Run a source, and wait until it has synced."""
    async with ApiServer(kubeconfig, "weft-test") as api:
        follower = Follower(NodeSource(api, node, account_watches))
        task = asyncio.ensure_future(follower.run())
        try:
            await follower.until(lambda: follower.synced or task.done())
            yield follower
        finally:
            task.cancel()
            assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
