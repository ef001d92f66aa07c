"""Metrics of the agent's loop and of its use of the kernel. Their values are read at each scrape."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from agent.datapath.verdicts import Verdicts
from agent.kernel import features
from agent.kernel.features import Feature
from agent.kernel.netns.client import NetnsClient
from agent.kernel.socket_terminator import SocketTerminator
from agent.kube.source import Source
from agent.node import status
from agent.node.authorization_controller import AuthorizationController
from agent.node.budgets import node_budgets
from agent.node.datapath_controller import DatapathController
from agent.telemetry.metrics import Metrics
from agent.telemetry.policy_metrics import Counts


def register_controller(
    metrics: Metrics,
    controller: DatapathController,
    authorization: AuthorizationController,
    at_waypoint: Callable[[], Counts],
) -> None:
    """Register the metrics of desired and pending state, of protected pods, and of the node's waypoint, with what
    policies decided there.
    """
    metrics.register_gauge(
        "weft_protected_pods",
        "Pods of this node that an AuthorizationPolicy selects.",
        lambda: len(authorization.desired.servers),
    )
    metrics.register_authorization(lambda: current_verdicts(authorization.verdicts), at_waypoint)
    metrics.register_gauges(
        "weft_pods", "Pods of this node.", "mode", lambda: status.pod_counts(controller.datapath.desired_pods.values())
    )
    metrics.register_gauge(
        "weft_pending",
        "Pods and frontends that are not written yet, without rejected ones.",
        lambda: controller.datapath.pending,
    )
    metrics.register_gauges(
        "weft_table_rows_rejected",
        "Rows that the kernel's tables or budgets have no capacity for.",
        "table",
        lambda: controller.datapath.rejected_rows,
    )
    metrics.register_budgets(lambda: node_budgets(controller, authorization.tables))
    metrics.register_gauge(
        "weft_source_problems", "Documents that cannot be used.", lambda: len(controller.change_queue.problems)
    )
    _register_waypoint(metrics, controller)


def current_verdicts(verdicts: Verdicts) -> Counts:
    """What policies decided at pods of this node; what was known before where the kernel cannot be read."""
    with suppress(OSError):
        verdicts.read()
    return {(it.policy, it.verdict, "server", it.mode): count for it, count in verdicts.totals.items()}


def _register_waypoint(metrics: Metrics, controller: DatapathController) -> None:
    metrics.register_gauge(
        "weft_waypoint_connected", "Whether an Envoy is connected.", lambda: len(controller.machine.connected) > 0
    )
    metrics.register_gauge("weft_waypoint_lost", "Whether the on-loss policies apply.", lambda: controller.machine.lost)
    metrics.register_gauges(
        "weft_ineffective_routes",
        "Routes that have no effect for these clients, because they do not use the waypoint.",
        "clients",
        lambda: _ineffective_routes(controller),
    )
    metrics.register_gauge(
        "weft_waypoint_listeners_rejected",
        "Listeners that the budget of listeners rejects.",
        lambda: len(controller.machine.rejected_listeners),
    )


def register_source(metrics: Metrics, source: Source) -> None:
    """Register the metrics of the source of objects."""
    metrics.register_gauges(
        "weft_source_ignored",
        "Documents of kinds that weft does not use.",
        "kind",
        lambda: source.status().get("ignored", {}),
    )
    metrics.register_gauge("weft_source_stale", "Whether the source may be out of date.", lambda: bool(source.stale))


def register_kernel(
    metrics: Metrics, missing: Iterable[Feature], terminator: SocketTerminator, helper: NetnsClient
) -> None:
    """Register the metrics of kernel features, of terminated sockets, and of the network namespace helper."""
    metrics.register_gauges(
        "weft_kernel_feature",
        "Whether the kernel has an optional feature.",
        "feature",
        lambda: features.presence(missing),
    )
    metrics.register_counters(
        "weft_sockets_terminated",
        "Sockets terminated: their backend was removed, or a policy admits their client no more.",
        "protocol",
        terminator.counts,
    )
    metrics.register_gauge(
        "weft_netns_helper_up",
        "Whether the network namespace helper answered the latest request.",
        lambda: not helper.error,
    )


def _ineffective_routes(controller: DatapathController) -> dict[str, int]:
    found = status.ineffective_routes(controller.datapath.desired_pods, controller.datapath.desired)
    return {clients: len(routes) for clients, routes in found.items()}
