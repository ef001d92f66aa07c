"""Parts of a rule's requests. Envoy draws one number for a request, and every `runtime_fraction` compares that one."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from agent.ir.http import Rule
from agent.translate.filters.base import MILLION, FractionRange


def fraction_ranges(rules: Sequence[Rule]) -> Iterator[tuple[Rule, FractionRange]]:
    """The numbers that stand for each part of a divided rule."""
    if len(rules) == 1:
        yield rules[0], FractionRange()
        return
    weights = [sum(item.weight for item in rule.backends) for rule in rules]
    total = sum(weights)
    for rule, own, upper in zip(rules, weights, accumulate(weights), strict=True):
        yield rule, FractionRange(MILLION * (upper - own) // total, MILLION * upper // total)
