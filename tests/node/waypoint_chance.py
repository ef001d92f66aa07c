"""How far chance may go."""

from math import log, sqrt


def bound(probability: float, times: int) -> float:
    """How far a count may be from its mean: Bernstein's inequality for a chance of 1e-6, both sides."""
    tail = log(2 / 1e-6)
    return tail / 3 + sqrt(tail * tail / 9 + 2 * times * probability * (1 - probability) * tail)
