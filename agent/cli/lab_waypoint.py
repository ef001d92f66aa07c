"""`weft lab waypoint`: replace the lab's Envoy."""

import json
from contextlib import suppress
from typing import Any

from agent.cli.agent_client import NoAgentError, get
from agent.lab import lifecycle, weft
from agent.lab.paths import LabPaths
from agent.lab.store import Store
from agent.settings import STATUS_SOCKET

TAKE_OVER_SECONDS = 30.0


def replace(paths: LabPaths, patience: float) -> int:
    """Start a second waypoint, and wait until it has taken over. Then stop the first one when it has no connections any
    more, or after `patience` seconds. Returns the number of connections that were cut. Raises `LabError`.
    """
    store = Store(paths)
    there = weft.waypoints(store.load())
    if len(there) != 1:
        raise lifecycle.LabError(f"lab {paths.name} has {len(there)} waypoints: {', '.join(there) or 'none'}")
    (new,) = weft.WAYPOINTS.keys() - there
    store.apply(json.dumps(weft.waypoint_pod(paths, new)))
    addresses = list(weft.waypoint_addresses(paths, new))
    lifecycle.wait_for(f"{new} takes over", lambda: _waypoint(paths).get("addresses") == addresses, TAKE_OVER_SECONDS)
    left = _drain(paths, there[0], patience)
    store.delete(json.dumps(weft.waypoint_pod(paths, there[0])))
    return left


def _drain(paths: LabPaths, name: str, patience: float) -> int:
    """Wait until there are no connections. Returns the number that are left after `patience` seconds."""
    last: dict[str, Any] = {}

    def alone() -> bool:
        last.update(*(envoy for envoy in _waypoint(paths).get("draining", ()) if envoy["id"] == name))
        return bool(last.get("drained"))

    with suppress(lifecycle.LabError):
        lifecycle.wait_for(f"{name} is left", alone, patience)
    return last.get("connections") or 0


def _waypoint(paths: LabPaths) -> Any:
    """The waypoint's part of the agent's status; empty while no agent answers."""
    try:
        return get(paths.state / STATUS_SOCKET, "/status")["waypoint"]
    except NoAgentError:
        return {}
