"""Rules whose backends have filters of their own (HTTPBackendRef.filters, GRPCBackendRef.filters)."""

from collections.abc import Iterable
from dataclasses import replace

from agent.ir.http import Rule
from agent.model.filters import Filter
from agent.translate.filters.registry import BY_TYPE


def expand_per_backend(rule: Rule) -> tuple[Rule, ...]:
    """One rule for each backend, with the rule's filters and then the backend's; the rule itself where no backend has
    filters.

    The weight of its backend is each rule's share of the requests. Requests for an invalid reference are forwarded to
    no backend: of their filters only those that act before a backend is chosen remain.
    """
    if not any(item.filters for item in rule.backends):
        return (rule,)
    return tuple(
        replace(
            rule,
            backends=(replace(item, filters=(), resolved=()),),
            filters=(*rule.filters, *item.filters) if item.backend else _before_backend(rule.filters),
            resolved=(*rule.resolved, *item.resolved),
        )
        for item in rule.backends
    )


def _before_backend(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    return tuple(item for item in filters if item.type in BY_TYPE and BY_TYPE[item.type].before_backend)
