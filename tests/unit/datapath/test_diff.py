"""Differences of mappings."""

from hypothesis import given
from hypothesis import strategies as st

from agent.datapath.diff import apply, diff

mappings = st.dictionaries(st.integers(0, 9), st.integers(0, 3))


@given(mappings, mappings)
def test_applying_the_difference_gives_the_desired(desired, actual):
    assert apply(diff(desired, actual), actual) == desired


@given(mappings)
def test_nothing_differs_from_itself(mapping):
    assert not diff(mapping, mapping)
    assert len(diff(mapping, {})) == len(mapping)
