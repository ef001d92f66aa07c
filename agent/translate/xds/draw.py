"""Parts of a rule's requests. Envoy draws one number for a request, and every `runtime_fraction` compares that one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from agent.plan.resources import Json
from agent.translate.ir import Rule

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers, modulo a million, from `low` up to `high`: this one not."""

    low: int = 0
    high: int = MILLION

    @property
    def condition(self) -> Json:
        """What a RouteMatch asks for, behind the routes for lower numbers; nothing when there are no higher ones."""
        return {} if self.high == MILLION else _below(self.high)

    def first(self, per_million: int) -> Json:
        """What a policy of such a route asks for, to take so many of a million of the route's requests."""
        return _below(self.low + (self.high - self.low) * per_million // MILLION)


def _below(number: int) -> Json:
    return {"runtime_fraction": {"default_value": {"numerator": number, "denominator": "MILLION"}}}


def ranges(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Range]]:
    """The numbers that stand for each part of a divided rule."""
    if len(rules) == 1:
        yield rules[0], Range()
        return
    weights = [sum(item.weight for item in rule.backends) for rule in rules]
    total = sum(weights)
    for rule, own, upper in zip(rules, weights, accumulate(weights), strict=True):
        yield rule, Range(MILLION * (upper - own) // total, MILLION * upper // total)
