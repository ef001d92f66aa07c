"""How weft itself is started in a lab: the agent on the node, the waypoint in a pod with an address of its own."""

import sys

from agent.lab.controllers import FIXED_ADDRESS
from agent.lab.paths import NODE_NAME, LabPaths
from agent.lab.store import Object

WAYPOINT_ADDRESS = "10.244.0.2"
_WORKERS = 2


def agent_command(paths: LabPaths) -> list[str]:
    """How the agent is started on the lab's node."""
    return [
        *(sys.executable, "-m", "agent", "agent"),
        *("--manifests", str(paths.manifests), "--state", str(paths.state)),
        *("--kubepods", str(paths.kubepods), "--waypoint-address", WAYPOINT_ADDRESS, "--node", NODE_NAME),
    ]


def waypoint_command(paths: LabPaths) -> list[str]:
    """How the waypoint is started in its pod."""
    return [sys.executable, "-m", "agent", "waypoint", "--state", str(paths.state), "--concurrency", str(_WORKERS)]


def waypoint_pod(paths: LabPaths) -> Object:
    """The waypoint as a Pod, which the lab's daemon starts again when it ends."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "weft-waypoint",
            "namespace": "weft-system",
            "labels": {"app": "weft-waypoint"},
            "annotations": {FIXED_ADDRESS: WAYPOINT_ADDRESS},
        },
        "spec": {"containers": [{"name": "envoy", "command": waypoint_command(paths)}]},
    }
