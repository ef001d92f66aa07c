"""Budgets of what namespaces share: a namespace may take no more than what it leaves free.

The rule is a dynamic threshold (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
switches", IEEE/ACM Transactions on Networking 6(2), 1998) with the factor 1. One namespace can take at most half of a
resource; two can take two thirds if they grow together, and three quarters if one grows after the other. A namespace
that comes later may always have half of what is left.

Only growth is refused. What a namespace has stays, also when its limit sinks because others grew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def charged_namespace(namespace: str, consumer: str) -> str:
    """The namespace that is charged for a Service and its clients: that of the consumer's Routes, or else, where
    `consumer` is empty, the Service's own.
    """
    return consumer or namespace


@dataclass(frozen=True, slots=True)
class Refusal:
    """A growth that a budget refuses. `wanted` is the growth, `used` and `limit` are of the namespace at that time."""

    resource: str
    namespace: str
    wanted: int
    used: int
    limit: int

    def __str__(self) -> str:
        """The reason in `weft status`."""
        return (
            f"budget of {self.resource}: namespace {self.namespace} has {self.used}, wants {self.wanted} more, "
            f"and may have {self.limit}: no more than it leaves free"
        )


class Budget:
    """The use of one resource by namespace. All amounts are in units of the resource, such as rows of a table."""

    def __init__(self, resource: str, capacity: int, used: Mapping[str, int] | None = None) -> None:
        """`used` is what namespaces have already; it is not checked."""
        self.resource = resource
        self.capacity = capacity
        self._used = dict(used or {})
        self._total = sum(self._used.values())

    @property
    def total(self) -> int:
        """The use of all namespaces."""
        return self._total

    @property
    def used(self) -> Mapping[str, int]:
        """The use by namespace, without namespaces that use nothing. The name is empty where the owner is unknown."""
        return MappingProxyType(self._used)

    def limit(self, namespace: str) -> int:
        """What a namespace may have in all, at the present use of the others."""
        others = self._total - self._used.get(namespace, 0)
        return max(0, (self.capacity - others) // 2)

    def refusal(self, namespace: str, growth: int) -> Refusal | None:
        """Why a namespace may not take `growth` more; None where it may. No growth is always allowed."""
        if growth <= 0:
            return None
        used, limit = self._used.get(namespace, 0), self.limit(namespace)
        if used + growth <= limit:
            return None
        return Refusal(self.resource, namespace, growth, used, limit)

    def add(self, namespace: str, amount: int) -> None:
        """Change the use of a namespace; a negative amount gives back."""
        left = self._used.get(namespace, 0) + amount
        self._total += amount
        if left:
            self._used[namespace] = left
        else:
            self._used.pop(namespace, None)
