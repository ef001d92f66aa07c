"""Ratios of interleaved pairs, and whether they meet a bar.

The value is the median of the paired ratios. Its interval has 95 % of the medians of bootstrap samples.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.scenarios import Bar

RESAMPLES = 2000
# A control wider than this decides nothing.
WIDEST = {"p50": 0.05, "rate": 0.05, "CPU": 0.05, "p99": 0.2}


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of paired ratios, and its interval."""

    value: float
    low: float
    high: float
    pairs: int

    @property
    def half_width(self) -> float:
        """Of a control: how far its interval reaches from 1, where it would be without noise."""
        return max(abs(self.low - 1), abs(self.high - 1))


def paired(subject: Sequence[float], reference: Sequence[float]) -> Ratio:
    """The ratio of two ways that were measured in the same rounds."""
    ratios = [a / b for a, b in zip(subject, reference, strict=True)]
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = (medians[int(RESAMPLES * share)] for share in (0.025, 0.975))
    return Ratio(statistics.median(ratios), low, high, len(ratios))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar as latest.json has it. `met` is null, with the reason, where that cannot be said. `control`: the half-width
    that the bound is widened by.
    """

    name: str
    measure: str
    bound: float
    value: float | None = None
    met: bool | None = None
    reason: str = ""
    interval: tuple[float, float] | None = None
    control: float | None = None
    samples: int = 0


def judge(bar: Bar, ratio: Ratio, control: Ratio) -> Verdict:
    """Whether a ratio is inside the bound, widened by the control."""
    width = control.half_width
    within = ratio.value >= bar.bound - width if bar.measure == "rate" else ratio.value <= bar.bound + width
    measurable = width <= WIDEST[bar.measure]
    return Verdict(
        bar.name,
        bar.measure,
        bar.bound,
        value=round(ratio.value, 3),
        met=within if measurable else None,
        reason="" if measurable else "not measurable here",
        interval=(round(ratio.low, 3), round(ratio.high, 3)),
        control=round(width, 3),
        samples=ratio.pairs,
    )
