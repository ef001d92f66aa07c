"""`weft lab waypoint`: the lab's Envoy, and another in its place."""

import json
from contextlib import suppress
from typing import Any

from agent.cli.ask import NoAgentError, ask
from agent.lab import lifecycle, weft
from agent.lab.paths import LabPaths
from agent.lab.store import Store
from agent.settings import STATUS_SOCKET

TAKE_OVER_SECONDS = 30.0


def replace(paths: LabPaths, patience: float) -> int:
    """Start a second waypoint, wait until it has taken over, and end the first when nobody is connected to it any more,
    or after `patience` seconds. Returns how many connections were cut. Raises `LabError`.
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
    """Wait until nobody is connected; returns how many still are when the time is over."""
    last: dict[str, Any] = {}

    def alone() -> bool:
        last.update(*(envoy for envoy in _waypoint(paths).get("draining", ()) if envoy["id"] == name))
        return bool(last.get("drained"))

    with suppress(lifecycle.LabError):
        lifecycle.wait_for(f"{name} is left", alone, patience)
    return last.get("connections") or 0


def _waypoint(paths: LabPaths) -> Any:
    """What the agent says of its waypoints; nothing while there is no agent."""
    try:
        return ask(paths.state / STATUS_SOCKET, "/status")["waypoint"]
    except NoAgentError:
        return {}
