"""Bounds for tests of random choice."""

from math import log, sqrt


def bound(probability: float, times: int) -> float:
    """The largest distance of a count from its mean: Bernstein's inequality, two-sided, for a probability of 1e-6."""
    tail = log(2 / 1e-6)
    return tail / 3 + sqrt(tail * tail / 9 + 2 * times * probability * (1 - probability) * tail)
