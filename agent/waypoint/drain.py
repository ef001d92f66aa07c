"""Waits, in an Envoy's own pod, until the Envoy has drained: what `weft drain` does before the pod ends."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.waypoint import admin
from agent.waypoint.drainer import POLL_SECONDS, DrainStatus
from agent.waypoint.process import admin_socket, is_draining
from agent.waypoint.stale_files import is_served


class NoSuccessorError(Exception):
    """There is no other Envoy on this node, so waiting would not help."""


async def drain_within(seconds: float, folder: Path, node_id: str, report: Callable[[str], object]) -> None:
    """As `drain`, for so long at most. Calls `report` also with how it ended."""
    try:
        async with asyncio.timeout(seconds):
            await drain(folder, node_id, report)
    except NoSuccessorError:
        report("no other waypoint takes over")
    except TimeoutError:
        report("timed out")
    else:
        report("drained")


async def drain(folder: Path, node_id: str, report: Callable[[str], object]) -> None:
    """Wait until another Envoy is active and this one has no connections.

    Calls `report` with the number of connections when it changes. Returns at once when this Envoy is gone. Raises
    `NoSuccessorError`.
    """
    if not _successors(folder, node_id):
        raise NoSuccessorError
    status = DrainStatus()
    while is_served(admin_socket(folder, node_id)) and not status.drained:
        before = status.connections
        status.update(await _connections(folder, node_id))
        if status.connections not in (None, before):
            report(f"connections: {status.connections}")
        await asyncio.sleep(POLL_SECONDS)


def _successors(folder: Path, node_id: str) -> list[str]:
    """Other Envoys that run and do not drain."""
    others = [bootstrap.stem for bootstrap in folder.glob("*.json") if bootstrap.stem != node_id]
    return [other for other in others if is_served(admin_socket(folder, other)) and not is_draining(folder, other)]


async def _connections(folder: Path, node_id: str) -> int | None:
    """The connections of a draining Envoy; None while it is active, or does not answer."""
    if not is_draining(folder, node_id):
        return None
    try:
        return await admin.connections(admin_socket(folder, node_id))
    except admin.AdminError:
        return None
