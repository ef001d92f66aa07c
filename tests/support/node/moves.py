"""Moves the traffic of a whole lab by the modes of its namespaces."""

from support.node.lab_handle import LabHandle
from support.node.mesh import settle


def set_mode(mesh: LabHandle, mode: str, namespace: str = "shop") -> None:
    """Set a namespace's mode, and wait until it is in effect."""
    mesh.label("Namespace", "", namespace, f"weft.dev/mode={mode}")
    settle(mesh, lambda status: {p["mode"] for p in status["pods"] if p["pod"].startswith(f"{namespace}/")} == {mode})


def at_the_waypoint(mesh: LabHandle, namespace: str = "shop") -> None:
    """Set mode l7, and wait until all frontends with a listener use the waypoint."""
    set_mode(mesh, "l7", namespace)
    settle(mesh, lambda status: {f["l7"] for f in status["frontends"] if f["listener"]} == {"waypoint"})
