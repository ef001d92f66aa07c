"""RangeAllocator: what is used is never given twice, what is freed rests."""

import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.datapath import allocate
from agent.datapath.allocate import QUARANTINE_SECONDS, FullError, QuarantinedError, RangeAllocator


def test_freed_space_rests_before_it_is_used_again():
    ranges = RangeAllocator(4)
    assert ranges.allocate(4, now=0) == 0
    ranges.free(0, 4, now=0)
    with pytest.raises(QuarantinedError):
        ranges.allocate(1, now=QUARANTINE_SECONDS / 2)
    assert ranges.allocate(4, now=QUARANTINE_SECONDS) == 0


def test_after_a_restart_all_free_space_rests():
    ranges = RangeAllocator(4, used=[(1, 1)], now=10)
    with pytest.raises(FullError):
        ranges.allocate(1, now=10.5)
    assert ranges.allocate(1, now=11) == 0
    assert ranges.allocate(2, now=11) == 2


def test_a_fresh_table_can_be_used_at_once():
    assert RangeAllocator(4, used=[], now=10).allocate(4, now=10) == 0


def test_neighbours_join_once_both_have_rested():
    ranges = RangeAllocator(4)
    first, second = ranges.allocate(2, 0), ranges.allocate(2, 0)
    ranges.free(first, 2, now=0)
    ranges.free(second, 2, now=0.5)
    with pytest.raises(QuarantinedError):
        ranges.allocate(4, now=1)
    assert ranges.allocate(4, now=1.5) == 0


def test_full_says_how_full():
    ranges = RangeAllocator(2)
    ranges.allocate(2, 0)
    with pytest.raises(FullError, match="no room for 1 in 2, 2 of them in use"):
        ranges.allocate(1, 0)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40))
def test_ranges_never_overlap_and_nothing_leaks(steps):
    ranges, live, now = RangeAllocator(32), {}, 0.0
    for length, release in steps:
        now += QUARANTINE_SECONDS
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
    assert ranges.allocate(32, now + QUARANTINE_SECONDS) == 0


class NaiveRanges:
    """The same, position by position: since when each one may be used, None where it is in use."""

    def __init__(self, capacity, used, now):
        self.ready = [now + QUARANTINE_SECONDS if used else now] * capacity
        for start, length in used:
            self.ready[start : start + length] = [None] * length

    def allocate(self, length, now):
        rested = [(n, start) for start, n in self.runs(lambda ready: ready is not None and ready <= now) if n >= length]
        if rested:
            start = min(rested)[1]
            self.ready[start : start + length] = [None] * length
            return start
        free = [n for _, n in self.runs(lambda ready: ready is not None) if n >= length]
        return QuarantinedError if free else FullError

    def free(self, start, length, now):
        self.ready[start : start + length] = [now + QUARANTINE_SECONDS] * length

    def runs(self, holds):
        """Where the property holds: the starts and lengths of the longest runs."""
        found, start = [], None
        for position, ready in enumerate([*self.ready, None]):
            if not holds(ready) and start is not None:
                found.append((start, position - start))
            start = None if not holds(ready) else position if start is None else start
        return found


def outcome(ranges, length, now):
    try:
        return ranges.allocate(length, now)
    except FullError as error:
        return type(error)


@st.composite
def used_ranges(draw):
    lengths = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=4))
    found, position = [], 0
    for gap, length in lengths:
        found.append((position + gap, length))
        position += gap + length
    return found


PASSED = st.sampled_from([0.0, QUARANTINE_SECONDS / 4, QUARANTINE_SECONDS / 2, QUARANTINE_SECONDS])


@settings(max_examples=300)
@given(used_ranges(), st.lists(st.tuples(PASSED, st.integers(1, 6), st.booleans(), st.integers(0, 99)), max_size=60))
def test_every_answer_is_that_of_a_naive_allocator(used, steps):
    now = 10.0
    ranges, naive, live = RangeAllocator(32, used, now), NaiveRanges(32, used, now), list(used)
    for passed, length, release, which in steps:
        now += passed
        if release and live:
            freed = live.pop(which % len(live))
            ranges.free(*freed, now)
            naive.free(*freed, now)
            continue
        found = outcome(ranges, length, now)
        assert found == naive.allocate(length, now)
        if isinstance(found, int):
            live.append((found, length))
        assert ranges.used == sum(n for _, n in live)


def lines_run(work):
    """How many lines of the allocator a piece of work runs: a count, the same on every machine."""
    counted = Counter()

    def trace(frame, event, _):
        if frame.f_code.co_filename != allocate.__file__:
            return None
        counted[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted["line"]


def replaced(count):
    """Give each of many arrays a new place and free the old one, as when all Services' endpoints change at once."""
    ranges = RangeAllocator(count * 8)
    starts = [ranges.allocate(1 + number % 3, 0.0) for number in range(count)]
    for number in range(0, count, 2):
        ranges.free(starts[number], 1 + number % 3, 0.0)
        ranges.allocate(2 + number % 3, 0.0)
    for number in range(0, count, 2):
        assert ranges.allocate(1 + number % 3, 2 * QUARANTINE_SECONDS) < count * 8


def test_the_work_for_an_array_does_not_grow_with_their_number():
    """Eight times as many arrays are eight times the work, and not 64 times."""
    few, many = lines_run(lambda: replaced(250)), lines_run(lambda: replaced(2000))
    assert many / few < 10
