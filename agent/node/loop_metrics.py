"""Metrics of the agent's loop: numbers that are read when somebody asks."""

from agent.node import status
from agent.node.loop import Core
from agent.telemetry.metrics import Metrics


def show(metrics: Metrics, core: Core) -> None:
    """Show what is wanted, what is still to be written, and how the node's waypoint is."""
    metrics.show_numbers(
        "weft_pods", "Pods of this node.", "mode", lambda: status.modes(core.datapath.desired_pods.values())
    )
    metrics.show(
        "weft_pending", "Pods and frontends not yet written; not those without room.", lambda: core.datapath.pending
    )
    metrics.show_numbers(
        "weft_rows_without_room",
        "What kernel tables are too full for.",
        "table",
        lambda: core.datapath.without_room,
    )
    metrics.show("weft_source_problems", "Documents that cannot be used.", lambda: len(core.intake.problems))
    metrics.show("weft_waypoint_connected", "Whether an Envoy is connected.", lambda: len(core.machine.connected) > 0)
    metrics.show("weft_waypoint_lost", "Whether the on-loss policies apply.", lambda: core.machine.lost)
    metrics.show_numbers(
        "weft_routes_without_effect",
        "Routes that need the waypoint and do nothing for these clients, who do not go there.",
        "clients",
        lambda: _without_effect(core),
    )
    metrics.show(
        "weft_waypoint_listeners_without_room",
        "Listeners that do not fit.",
        lambda: len(core.machine.without_room),
    )


def _without_effect(core: Core) -> dict[str, int]:
    found = status.without_effect(core.datapath.desired_pods, core.datapath.desired)
    return {clients: len(routes) for clients, routes in found.items()}
