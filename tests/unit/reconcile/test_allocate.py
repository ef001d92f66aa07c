"""Ranges: what is used is never given twice, what is freed rests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.reconcile.allocate import REST_SECONDS, FullError, Ranges, RestingError


def test_freed_space_rests_before_it_is_used_again():
    ranges = Ranges(4)
    assert ranges.allocate(4, now=0) == 0
    ranges.free(0, 4, now=0)
    with pytest.raises(RestingError):
        ranges.allocate(1, now=REST_SECONDS / 2)
    assert ranges.allocate(4, now=REST_SECONDS) == 0


def test_after_a_restart_all_free_space_rests():
    ranges = Ranges(4, used=[(1, 1)], now=10)
    with pytest.raises(FullError):
        ranges.allocate(1, now=10.5)
    assert ranges.allocate(1, now=11) == 0
    assert ranges.allocate(2, now=11) == 2


def test_a_fresh_table_can_be_used_at_once():
    assert Ranges(4, used=[], now=10).allocate(4, now=10) == 0


def test_neighbours_join_once_both_have_rested():
    ranges = Ranges(4)
    first, second = ranges.allocate(2, 0), ranges.allocate(2, 0)
    ranges.free(first, 2, now=0)
    ranges.free(second, 2, now=0.5)
    with pytest.raises(FullError):
        ranges.allocate(4, now=1)
    assert ranges.allocate(4, now=1.5) == 0


def test_full_says_how_full():
    ranges = Ranges(2)
    ranges.allocate(2, 0)
    with pytest.raises(FullError, match="no room for 1 in 2, 2 of them in use"):
        ranges.allocate(1, 0)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40))
def test_ranges_never_overlap_and_nothing_leaks(steps):
    ranges, live, now = Ranges(32), {}, 0.0
    for length, release in steps:
        now += REST_SECONDS
        if release and live:
            start = next(iter(live))
            ranges.free(start, live.pop(start), now)
            continue
        try:
            start = ranges.allocate(length, now)
        except FullError:
            continue
        taken = {p for s, n in live.items() for p in range(s, s + n)}
        assert taken.isdisjoint(range(start, start + length))
        assert start + length <= 32
        live[start] = length
        assert ranges.used == sum(live.values())
    for start, length in live.items():
        ranges.free(start, length, now)
    assert ranges.allocate(32, now + REST_SECONDS) == 0
