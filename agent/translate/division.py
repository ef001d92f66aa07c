"""Rules whose backends have filters of their own (HTTPBackendRef.filters, GRPCBackendRef.filters)."""

from collections.abc import Iterator
from dataclasses import replace

from agent.model.filters import Filter, URLRewrite
from agent.translate.ir import Rule


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
            backends=(replace(item, filters=(), mirrors=()),),
            filters=tuple(_one_after_the_other(rule.filters, item.filters) if item.backend else _cors(rule.filters)),
            mirrors=(*rule.mirrors, *item.mirrors),
        )
        for item in rule.backends
    )


def _cors(filters: tuple[Filter, ...]) -> Iterator[Filter]:
    return (item for item in filters if item.cors is not None)


def _one_after_the_other(first: tuple[Filter, ...], then: tuple[Filter, ...]) -> Iterator[Filter]:
    """All filters. Of two rewrites there is one left: the later one's host and path, and what only the first gives."""
    rewrites = [item.url_rewrite for item in (*first, *then) if item.url_rewrite is not None]
    yield from (item for item in (*first, *then) if item.url_rewrite is None)
    if rewrites:
        hosts = [item.hostname for item in rewrites if item.hostname is not None]
        paths = [item.path for item in rewrites if item.path is not None]
        found = URLRewrite(hostname=hosts[-1] if hosts else None, path=paths[-1] if paths else None)
        yield Filter(type="URLRewrite", url_rewrite=found)
