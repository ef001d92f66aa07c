"""Who goes first when several namespaces have work."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from agent.fair_queue import FairQueue


class Piece(NamedTuple):
    owner: str
    number: int
    cost: float = 1.0


def drained(queue: FairQueue[Piece]) -> list[Piece]:
    """Everything, in the order in which it is done."""
    found = []
    while queue:
        found.append(queue.pop())
        queue.charge(found[-1].owner, found[-1].cost)
    return found


def test_namespaces_take_turns_whatever_one_has_waiting():
    queue = FairQueue[Piece](lambda piece: piece.owner)
    queue.add([Piece("evil", number) for number in range(1000)])
    queue.add([Piece("victim", number) for number in range(3)])
    assert [piece.owner for piece in drained(queue)[:6]] == ["evil", "victim"] * 3


def test_turns_are_by_cost_not_by_number():
    queue = FairQueue[Piece](lambda piece: piece.owner)
    queue.add([Piece("evil", number, 10.0) for number in range(10)])
    queue.add([Piece("victim", number) for number in range(20)])
    order = [piece.owner for piece in drained(queue)]
    assert order[:12] == ["evil", *["victim"] * 10, "evil"]


def test_idle_time_is_no_credit():
    queue = FairQueue[Piece](lambda piece: piece.owner)
    queue.add([Piece("first", number) for number in range(100)])
    for _ in range(50):
        queue.charge(queue.pop().owner, 1.0)
    queue.add([Piece("late", number) for number in range(50)])
    order = [piece.owner for piece in drained(queue)]
    assert order.count("late") == 50
    assert order[:6].count("late") == 3


def test_a_piece_waits_once():
    queue = FairQueue[Piece](lambda piece: piece.owner)
    queue.add([Piece("app", 1), Piece("app", 1)])
    assert Piece("app", 1) in queue
    assert drained(queue) == [Piece("app", 1)]
    assert Piece("app", 1) not in queue


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 7.0])), max_size=60))
def test_no_namespace_gets_further_ahead_of_one_that_waits_than_its_costliest_piece(pieces):
    """The bound of start-time fair queueing for two flows of equal weight: the sum of their costliest pieces."""
    queue = FairQueue[Piece](lambda piece: piece.owner)
    queue.add(Piece(owner, number, cost) for number, (owner, cost) in enumerate(pieces))
    left = {owner: sum(item == owner for item, _ in pieces) for owner in "abc"}
    used = dict.fromkeys("abc", 0.0)
    for piece in drained(queue):
        used[piece.owner] += piece.cost
        left[piece.owner] -= 1
        waiting = [used[owner] for owner in "abc" if left[owner]]
        assert used[piece.owner] - min(waiting, default=used[piece.owner]) <= 14.0
