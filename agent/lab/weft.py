"""Starts weft in a lab: the agent on the node, the waypoint in a pod with addresses of its own."""

import sys

from agent.ir.addresses import Addresses
from agent.lab.controllers import FIXED_ADDRESS, labels_of, with_kind
from agent.lab.families import of_family, ranges_of
from agent.lab.paths import NODE_NAME, LabPaths
from agent.lab.store import Object, Objects
from agent.model.meta import WEFT_NAMESPACE

# Mostly one of the two exists; the other replaces it.
WAYPOINTS = {
    "weft-waypoint": Addresses("10.244.0.2", "fd00:10:244::2"),
    "weft-waypoint-2": Addresses("10.244.0.3", "fd00:10:244::3"),
}
_LABELS = {"app.kubernetes.io/name": "weft-waypoint"}
_WORKERS = 2


def agent_command(paths: LabPaths) -> list[str]:
    """The agent's command on the lab's node."""
    return [
        *(sys.executable, "-m", "agent", "agent"),
        *("--manifests", str(paths.manifests), "--state", str(paths.state)),
        *("--kubepods", str(paths.kubepods), "--node", NODE_NAME, "--encryption"),
    ]


def waypoint_addresses(paths: LabPaths, name: str) -> Addresses:
    """A waypoint's addresses, of the lab's families."""
    return Addresses.of(of_family([*WAYPOINTS[name]], ranges) for ranges in ranges_of(paths))


def waypoint_command(paths: LabPaths, name: str) -> list[str]:
    """The waypoint's command in its pod."""
    return [
        *(sys.executable, "-m", "agent", "waypoint", "--state", str(paths.state)),
        *("--id", name, "--address", str(waypoint_addresses(paths, name)), "--concurrency", str(_WORKERS)),
    ]


def waypoint_pod(paths: LabPaths, name: str = "weft-waypoint") -> Object:
    """A waypoint as a Pod, which the lab's daemon starts again when it ends."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": WEFT_NAMESPACE,
            "labels": _LABELS,
            "annotations": {FIXED_ADDRESS: str(WAYPOINTS[name])},
        },
        "spec": {"containers": [{"name": "envoy", "command": waypoint_command(paths, name)}]},
    }


def waypoints(objects: Objects) -> list[str]:
    """The names of the existing waypoints."""
    pods = with_kind(objects, "Pod")
    return [key.name for key, pod in pods if key.namespace == WEFT_NAMESPACE and labels_of(pod) == _LABELS]
