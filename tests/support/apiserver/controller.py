"""A replica of the controller in the process of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.certificates.rotation import DEFAULT_LIVES, Lives
from agent.controller.run import Controller
from agent.kube.client import ApiServer
from agent.settings import ControllerSettings


@asynccontextmanager
async def running(
    kubeconfig: Path,
    lease: str,
    identity: str = "a",
    namespace: str = "default",
    *,
    startup_taint: bool = False,
    certificates: bool = False,
    lives: Lives = DEFAULT_LIVES,
) -> AsyncIterator[Controller]:
    """A replica of the controller, until the end of the block; then as after SIGTERM."""
    made = ControllerSettings(
        kubeconfig, namespace, lease, identity, startup_taint=startup_taint, certificates=certificates
    )
    async with ApiServer(kubeconfig, "weft-test") as api:
        controller = Controller(api, made, lives)
        tasks = [asyncio.ensure_future(part) for part in controller.parts()]
        try:
            yield controller
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
