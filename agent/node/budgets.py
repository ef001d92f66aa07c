"""The budgets of what namespaces share on this node, of all parts of the agent."""

from typing import Any

from agent.budget import Budget
from agent.datapath.authorization import Authorization
from agent.node.datapath_controller import DatapathController
from agent.telemetry import budgets


def node_budgets(controller: DatapathController, authorization: Authorization) -> tuple[Budget, ...]:
    """The budgets of the kernel's tables, and of the waypoint's listeners, configuration and connections. Raises
    `OSError`.
    """
    waypoint = controller.machine.budget, controller.rendering.budget, controller.datapath.connections
    return (*controller.datapath.budgets, authorization.budget, *waypoint)


def document(controller: DatapathController, authorization: Authorization) -> dict[str, Any]:
    """What `weft top --by namespace` shows."""
    refused = controller.datapath.refused + controller.machine.refused + controller.rendering.refused
    return {"budgets": budgets.document(node_budgets(controller, authorization), refused + authorization.refused)}
