"""The end of an Envoy that another replaces, seen from its own pod: when may it go?"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.waypoint import admin
from agent.waypoint.farewell import LOOK_SECONDS, Leave
from agent.waypoint.process import admin_socket, is_retired
from agent.waypoint.stale_files import is_served


class NobodyTakesOverError(Exception):
    """There is no other Envoy on this node: waiting would help nobody."""


async def drain(folder: Path, node_id: str, say: Callable[[str], object]) -> None:
    """Wait until the agent has had another Envoy take over from this one, and nobody is connected to it any more.

    Tells `say` how many are, when that changes. Returns at once where this Envoy is gone. Raises
    `NobodyTakesOverError`.
    """
    if not _successors(folder, node_id):
        raise NobodyTakesOverError
    leave = Leave()
    while is_served(admin_socket(folder, node_id)) and not leave.drained:
        before = leave.connections
        leave.see(await _connections(folder, node_id))
        if leave.connections not in (None, before):
            say(f"{leave.connections} connected")
        await asyncio.sleep(LOOK_SECONDS)


def _successors(folder: Path, node_id: str) -> list[str]:
    """Other Envoys that are there, but for those who are on their way out."""
    others = [bootstrap.stem for bootstrap in folder.glob("*.json") if bootstrap.stem != node_id]
    return [other for other in others if is_served(admin_socket(folder, other)) and not is_retired(folder, other)]


async def _connections(folder: Path, node_id: str) -> int | None:
    """How many clients a retired Envoy has; None while it serves, or is too busy to say."""
    if not is_retired(folder, node_id):
        return None
    try:
        return await admin.connections(admin_socket(folder, node_id))
    except admin.AdminError:
        return None
