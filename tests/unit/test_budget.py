"""Budgets: a namespace may take no more than what it leaves free."""

from hypothesis import given
from hypothesis import strategies as st

from agent.budget import Budget, Refusal

CAPACITY = 120


def filled(*namespaces: str, capacity: int = CAPACITY) -> dict[str, int]:
    """What namespaces have that take one by one, by turns, as much as they can."""
    budget = Budget("slots", capacity)
    while any(budget.refusal(name, 1) is None for name in namespaces):
        for name in namespaces:
            if budget.refusal(name, 1) is None:
                budget.add(name, 1)
    return budget.used


def test_one_namespace_has_half_and_n_together_leave_one_part_of_n_plus_one():
    assert filled("a") == {"a": 60}
    assert filled("a", "b") == {"a": 40, "b": 40}
    assert filled("a", "b", "c") == {"a": 30, "b": 30, "c": 30}


def test_who_comes_later_has_half_of_what_is_left():
    budget = Budget("slots", CAPACITY)
    for name, most in (("a", 60), ("b", 30), ("c", 15), ("d", 7)):
        assert budget.limit(name) == most
        budget.add(name, most)


def test_a_refusal_says_who_wanted_what():
    budget = Budget("slots", CAPACITY, {"a": 50})
    assert budget.refusal("a", 10) is None
    assert budget.refusal("a", 11) == Refusal("slots", "a", 11, 50, 60)
    assert str(budget.refusal("a", 11)) == (
        "budget of slots: namespace a has 50, wants 11 more, and may have 60: no more than it leaves free"
    )


def test_what_does_not_grow_is_allowed_above_the_limit():
    budget = Budget("slots", 10, {"a": 9})
    assert (budget.limit("a"), budget.refusal("a", 0), budget.refusal("a", -3)) == (5, None, None)
    assert budget.refusal("a", 1) is not None
    assert Budget("slots", 4, {"a": 9}).limit("b") == 0, "less capacity than before"


def test_a_namespace_that_gives_all_back_is_forgotten():
    budget = Budget("slots", CAPACITY, {"a": 5})
    budget.add("b", 3)
    budget.add("a", -5)
    assert (budget.used, budget.total, budget.limit("b")) == ({"b": 3}, 3, 60)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-20, 60)), max_size=60))
def test_whoever_grows_leaves_as_much_free_as_it_has(steps):
    budget = Budget("slots", CAPACITY)
    for name, amount in steps:
        change = max(amount, -budget.used.get(name, 0))
        if budget.refusal(name, change) is None:
            budget.add(name, change)
            free = CAPACITY - budget.total
            assert free >= 0
            assert change <= 0 or budget.used[name] <= free
    assert budget.total == sum(budget.used.values())
    assert budget.refusal("newcomer", (CAPACITY - budget.total) // 2) is None
