"""Budgets of namespaces as Prometheus metrics and as a document."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.budget import Budget

# Namespaces with series of their own, for each resource: those that use most.
MAX_NAMESPACES = 20
OTHER = "other"


class BudgetMetrics(Collector):
    """The use of each resource by namespace, read at each scrape."""

    def __init__(self, budgets: Callable[[], Iterable[Budget]]) -> None:
        self._budgets = budgets

    def collect(self) -> Iterator[Metric]:
        """Both families."""
        used = GaugeMetricFamily(
            "weft_budget_used", "Use of resources that namespaces share.", labels=["resource", "namespace"]
        )
        capacity = GaugeMetricFamily(
            "weft_budget_capacity", "Capacity of resources that namespaces share.", labels=["resource"]
        )
        for budget in self._budgets():
            capacity.add_metric([budget.resource], budget.capacity)
            for namespace, amount in largest(budget.used).items():
                used.add_metric([budget.resource, namespace], amount)
        yield used
        yield capacity


def largest(used: Mapping[str, int]) -> dict[str, int]:
    """The namespaces that use most, and the sum of all others as `other`.

    A namespace of that name, and what has no known owner, are among the others: a series must be there once.
    """
    named = sorted((item for item in used.items() if item[0] not in (OTHER, "")), key=lambda item: (-item[1], item[0]))
    return {
        **dict(named[:MAX_NAMESPACES]),
        OTHER: sum(used.values()) - sum(amount for _, amount in named[:MAX_NAMESPACES]),
    }


def document(budgets: Iterable[Budget], refused: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Every namespace's use of each resource, the largest first within a resource.

    `refused` is the number of objects that budgets refuse, by resource and namespace.
    """
    rows = [
        {
            "resource": budget.resource,
            "namespace": namespace,
            "used": budget.used.get(namespace, 0),
            "limit": budget.limit(namespace),
            "capacity": budget.capacity,
            "rejected": refused.get((budget.resource, namespace), 0),
        }
        for budget in budgets
        for namespace in budget.used.keys() | {name for resource, name in refused if resource == budget.resource}
    ]
    return sorted(rows, key=lambda row: (row["resource"], -row["used"], row["namespace"]))
