"""Parts of a rule's requests. Envoy draws one number for a request, and every `runtime_fraction` compares that one."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from agent.ir.http import Rule
from agent.translate.filters.base import MILLION, Range


def ranges(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Range]]:
    """The numbers that stand for each part of a divided rule."""
    if len(rules) == 1:
        yield rules[0], Range()
        return
    weights = [sum(item.weight for item in rule.backends) for rule in rules]
    total = sum(weights)
    for rule, own, upper in zip(rules, weights, accumulate(weights), strict=True):
        yield rule, Range(MILLION * (upper - own) // total, MILLION * upper // total)
