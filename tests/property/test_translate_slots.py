"""Alias tables: whatever the weights, the table gives the shares that were asked for."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from agent.ir.tables import SocketAddress, address_bytes
from agent.translate.slots import ONE, alias_table, equal_table, shares

BACKENDS = st.tuples(st.integers(1, 250).map(lambda n: address_bytes(f"10.0.0.{n}")), st.just(80))
TARGETS = st.one_of(st.none(), BACKENDS)
WEIGHTS = st.one_of(
    st.integers(0, 1_000_000),
    st.fractions(min_value=0, max_value=1000, max_denominator=97),
)
Weights = dict[SocketAddress | None, Fraction | int]


@given(st.dictionaries(TARGETS, WEIGHTS, max_size=20))
def test_shares_are_the_weights(weights: Weights) -> None:
    total = sum((Fraction(weight) for weight in weights.values()), Fraction(0))
    found = shares(alias_table(weights))
    wanted = {target: Fraction(weight) / total for target, weight in weights.items() if weight}
    assert found.keys() <= wanted.keys()
    assert sum(found.values()) == (1 if wanted else 0)
    for target, share in wanted.items():
        assert abs(found.get(target, Fraction(0)) - share) <= Fraction(1, ONE)


@given(st.dictionaries(TARGETS, WEIGHTS, max_size=20), st.integers(1, 1000), st.randoms())
def test_order_and_scale_do_not_matter(weights: Weights, factor: int, random: object) -> None:
    items = [(target, weight * factor) for target, weight in weights.items()]
    random.shuffle(items)  # type: ignore[attr-defined]
    assert alias_table(dict(items)) == alias_table(weights)


@given(st.dictionaries(TARGETS, WEIGHTS, max_size=20))
def test_every_column_is_sound(weights: Weights) -> None:
    table = alias_table(weights)
    assert len(table) == sum(1 for weight in weights.values() if weight)
    assert list(table) == sorted(table, key=lambda slot: (slot.reject, slot.address, slot.port))
    for slot in table:
        assert 0 <= slot.threshold < ONE
        assert 0 <= slot.alias < len(table)


@given(st.sets(BACKENDS, max_size=50))
def test_equal_weights_have_a_shorter_way_to_the_same_table(targets: set[SocketAddress]) -> None:
    table = equal_table(targets)
    assert table == alias_table(dict.fromkeys(targets, 1))
    assert shares(table) == dict.fromkeys(targets, Fraction(1, len(targets) or 1))
