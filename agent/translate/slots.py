"""Weighted choice in the kernel: alias tables (A. J. Walker, 1977; construction after M. D. Vose, 1991)."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm

from agent.ir.tables import UNSPECIFIED, Slot, SocketAddress

ONE = 2**32


def alias_table(weights: Mapping[SocketAddress | None, Fraction | int]) -> tuple[Slot, ...]:
    """The slots that choose each target by its weight; a target of weight 0 gets none.

    The target None stands for a share that is refused. Canonical: equal weights, in any order and scale, give the same
    table, sorted as `Slot` requires. The error of a share is at most 2**-32.
    """
    wanted = sorted((item for item in weights.items() if item[1]), key=_order)
    # In whole numbers, of which `total` fill a column: fractions took 5 times as long [m].
    scale = lcm(*(weight.denominator for _, weight in wanted))
    columns = [int(weight * scale) * len(wanted) for _, weight in wanted]
    total = sum(columns) // (len(wanted) or 1)
    alias = list(range(len(wanted)))
    small = [position for position, column in enumerate(columns) if column < total]
    large = [position for position, column in enumerate(columns) if column > total]
    while small and large:
        low, high = small.pop(), large.pop()
        alias[low] = high
        columns[high] -= total - columns[low]
        if columns[high] != total:
            (small if columns[high] < total else large).append(high)
    return tuple(
        _slot(target, position, alias[position], columns[position], total)
        for position, (target, _) in enumerate(wanted)
    )


def equal_table(targets: Iterable[SocketAddress]) -> tuple[Slot, ...]:
    """`alias_table` where every target has the same weight: each column keeps everything."""
    return tuple(
        Slot(address, port, False, position, ONE - 1) for position, (address, port) in enumerate(sorted(set(targets)))
    )


def _order(item: tuple[SocketAddress | None, Fraction | int]) -> tuple[bool, SocketAddress]:
    return item[0] is None, item[0] or (UNSPECIFIED, 0)


def _slot(target: SocketAddress | None, position: int, alias: int, column: int, total: int) -> Slot:
    """One column; one that keeps everything has the highest threshold that fits in 32 bits, and aliases itself."""
    address, port = target or (UNSPECIFIED, 0)
    threshold = ONE - 1 if alias == position else min(round(Fraction(column * ONE, total)), ONE - 1)
    return Slot(address, port, target is None, alias, threshold)


def shares(slots: Iterable[Slot]) -> dict[SocketAddress | None, Fraction]:
    """What part of connections each target gets: the inverse of `alias_table`."""
    table = tuple(slots)
    if all(slot.alias == position and not slot.reject for position, slot in enumerate(table)):
        # `equal_table`: a thousand times as fast as adding fractions, and `weft status` shows every backend.
        return dict.fromkeys(((slot.address, slot.port) for slot in table), Fraction(1, len(table) or 1))
    found: dict[SocketAddress | None, Fraction] = {}
    for position, slot in enumerate(table):
        own = Fraction(1) if slot.alias == position else Fraction(slot.threshold, ONE)
        for chosen, part in ((slot, own), (table[slot.alias], 1 - own)):
            target = None if chosen.reject else (chosen.address, chosen.port)
            found[target] = found.get(target, Fraction(0)) + part / len(table)
    return {target: share for target, share in found.items() if share}
