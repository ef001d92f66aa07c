"""Rules whose backends have filters of their own (HTTPBackendRef.filters, GRPCBackendRef.filters)."""

from collections.abc import Iterable
from dataclasses import replace

from agent.ir.http import Rule
from agent.model.filters import Filter
from agent.translate.filters.registry import BY_TYPE


def divided(rule: Rule) -> tuple[Rule, ...]:
    """A rule for each backend, with the backend's filters behind the rule's; the rule itself where no backend has any.

    The weight of its one backend says what part of the requests each is for. An invalid reference is forwarded nothing
    that could be changed.
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
