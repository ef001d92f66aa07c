"""When a paired ratio meets a bar, and when a control is too wide to say so."""

import random

import pytest

from bench.ratios import Ratio, judge, paired
from bench.scenarios import Bar

AT_MOST = Bar("connect", "weft L4", "direct", "p50", 1.05)
AT_LEAST = Bar("throughput", "weft L4", "direct", "rate", 0.99)
QUIET = Ratio(1.0, 0.99, 1.01, 20)


def test_a_drift_of_the_machine_is_not_in_the_ratio() -> None:
    drifting = [100.0 * 1.5**turn for turn in range(20)]
    ratio = paired([value * 1.1 for value in drifting], drifting)
    assert (round(ratio.low, 6), round(ratio.value, 6), round(ratio.high, 6), ratio.pairs) == (1.1, 1.1, 1.1, 20)


def test_noise_widens_the_interval_which_holds_the_true_ratio() -> None:
    chance = random.Random(1)
    reference = [chance.gauss(100, 5) for _ in range(40)]
    ratio = paired([1.2 * chance.gauss(100, 5) for _ in range(40)], reference)
    assert ratio.low < 1.2 < ratio.high
    assert ratio.high - ratio.low > 0.01


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        paired([1.0, 2.0], [1.0])


@pytest.mark.parametrize("bar", [AT_MOST, AT_LEAST])
@pytest.mark.parametrize(("beyond", "met"), [(-0.01, True), (0.005, True), (0.02, False)])
def test_the_control_widens_the_bound(bar: Bar, beyond: float, met: bool) -> None:
    value = bar.bound + (beyond if bar is AT_MOST else -beyond)
    verdict = judge(bar, Ratio(value, value, value, 20), QUIET)
    assert (verdict.met, verdict.reason, verdict.control, verdict.samples) == (met, "", 0.01, 20)


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_a_wide_control_decides_nothing(value: float) -> None:
    verdict = judge(AT_MOST, Ratio(value, value, value, 20), Ratio(1.0, 0.93, 1.01, 20))
    assert (verdict.met, verdict.reason, verdict.control) == (None, "not measurable here", 0.07)


def test_a_control_that_is_off_is_wide() -> None:
    assert judge(AT_MOST, Ratio(1.0, 1.0, 1.0, 20), Ratio(1.08, 1.07, 1.09, 20)).met is None
