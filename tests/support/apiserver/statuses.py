"""Route statuses, as the API server has them."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent.model.meta import CONTROLLER_NAME
from support.apiserver.objects import GATEWAY
from support.apiserver.process import Cluster

MERGE = "application/merge-patch+json"


PATIENCE = 40.0


async def until(found: Callable[[], object]) -> None:
    """Wait until a condition holds. Raises `TimeoutError`."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(found):
            await asyncio.sleep(0.1)


def parents(cluster: Cluster, space: str, name: str = "web") -> list[dict[str, Any]]:
    found = cluster.request("GET", f"{GATEWAY}/namespaces/{space}/httproutes/{name}")
    listed: list[dict[str, Any]] = found.get("status", {}).get("parents", [])
    return listed


def own_conditions(cluster: Cluster, space: str, name: str = "web") -> dict[str, tuple[str, str]]:
    """The status and reason of each condition in the first entry of weft's controller."""
    ours = [entry for entry in parents(cluster, space, name) if entry["controllerName"] == CONTROLLER_NAME]
    return {item["type"]: (item["status"], item["reason"]) for item in ours[0]["conditions"]} if ours else {}


GOOD = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
