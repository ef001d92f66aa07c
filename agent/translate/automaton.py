"""The deterministic automaton of a regular expression. RE2 makes it while it matches: a state for each byte that leads
to a new one. Where it is small, matching costs nanoseconds a byte. Else RE2 makes states all the time: that costs up to
a microsecond a byte, and 2 MiB of memory for an expression. `.*a.{14}` has 32 768 states.

A state is a set of positions: of the bytes in the expression that may be next (V. M. Glushkov, "The abstract theory of
automata", 1961). A set is an integer, with a bit for each of its members.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import repeat

from agent.translate.expression_syntax import EVERY_BYTE, UNBOUNDED, Bytes, Choice, Node, Repetition, Sequence

# In front of all positions: the end of the expression.
END = 1


class TooLargeError(Exception):
    """More steps are needed than may be done."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the expression: whether it matches nothing at all, and the positions that may be its first and last."""

    nullable: bool
    first: int
    last: int


NOTHING = _Part(nullable=True, first=0, last=0)


@dataclass
class Positions:
    """The positions of an expression: the bytes that each matches, and those that may follow it."""

    most: int
    steps: int = 0
    members: list[int] = field(default_factory=lambda: [0])
    following: list[int] = field(default_factory=lambda: [0])
    start: int = 0

    @classmethod
    def of(cls, node: Node, most: int) -> "Positions":
        """Raises `TooLargeError` where `most` steps do not suffice."""
        made = cls(most)
        whole = made._added(node)
        for position in made.bits(whole.last):
            made.following[position] |= END
        made.start = whole.first | (END if whole.nullable else 0)
        return made

    def spend(self, steps: int) -> None:
        """Count steps. Raises `TooLargeError`."""
        self.steps += steps
        if self.steps > self.most:
            raise TooLargeError

    def bits(self, positions: int) -> Iterator[int]:
        """The members of a set. Each is a step."""
        while positions:
            lowest = positions & -positions
            positions ^= lowest
            self.spend(1)
            yield lowest.bit_length() - 1

    def _added(self, node: Node) -> _Part:
        match node:
            case Bytes():
                self.spend(1)
                self.members.append(node.members)
                self.following.append(0)
                position = 1 << len(self.members) - 1
                return _Part(nullable=False, first=position, last=position)
            case Sequence():
                return reduce(self._joined, map(self._added, node.parts), NOTHING)
            case Choice():
                options = [self._added(option) for option in node.options]
                return _Part(
                    any(option.nullable for option in options),
                    reduce(int.__or__, (option.first for option in options)),
                    reduce(int.__or__, (option.last for option in options)),
                )
            case Repetition():
                return self._repeated(node)

    def _joined(self, one: _Part, other: _Part) -> _Part:
        """Two parts, one after the other."""
        for position in self.bits(one.last):
            self.following[position] |= other.first
        return _Part(
            one.nullable and other.nullable,
            one.first | other.first if one.nullable else one.first,
            one.last | other.last if other.nullable else other.last,
        )

    def _repeated(self, node: Repetition) -> _Part:
        """`a{2,4}` is `aa(a(a)?)?`, and `a{2,}` is `aa+`."""
        made = NOTHING
        for _ in repeat(None, node.least - (node.most == UNBOUNDED and node.least > 0)):
            made = self._joined(made, self._added(node.part))
        if node.most == UNBOUNDED:
            looped = self._added(node.part)
            self._joined(looped, looped)
            return self._joined(made, _Part(looped.nullable or node.least == 0, looped.first, looped.last))
        optional = NOTHING
        for _ in repeat(None, node.most - node.least):
            part = self._added(node.part)
            joined = self._joined(part, optional)
            optional = _Part(nullable=True, first=joined.first, last=joined.last)
        return self._joined(made, optional)


class Automaton:
    """The states, by set of positions, each with the state that a class of bytes leads to; no entry: to none."""

    def __init__(self, node: Node, most: int) -> None:
        """Raises `TooLargeError` where `most` steps do not suffice."""
        self._positions = positions = Positions.of(node, most)
        self.classes = self._classes()
        self.states: dict[int, dict[int, int]] = {}
        self.start = positions.start
        leads = {members: self._leading(members) for members in set(positions.members)}
        waiting = [self.start]
        while waiting:
            state = waiting.pop()
            if state in self.states:
                continue
            # RE2 keeps a pointer for each class.
            positions.spend(len(self.classes))
            reached = self.states[state] = {}
            for position in positions.bits(state & ~END):
                classes = leads[positions.members[position]]
                positions.spend(len(classes))
                for number in classes:
                    reached[number] = reached.get(number, 0) | positions.following[position]
            waiting += reached.values()

    @property
    def steps(self) -> int:
        """The steps that making it has taken: at least the number of its states times that of its classes."""
        return self._positions.steps

    def matches(self, text: bytes) -> bool:
        """Whether the whole of a text matches."""
        state: int | None = self.start
        for byte in text:
            number = next(number for number, members in enumerate(self.classes) if members >> byte & 1)
            state = self.states[state].get(number) if state is not None else None
        return state is not None and bool(state & END)

    def _classes(self) -> list[int]:
        """Sets of bytes that no position tells apart."""
        classes = [EVERY_BYTE]
        for members in set(self._positions.members):
            self._positions.spend(len(classes))
            classes = [half for found in classes for half in (found & members, found & ~members) if half]
        return classes

    def _leading(self, members: int) -> list[int]:
        """The classes that are in a set of bytes."""
        self._positions.spend(len(self.classes))
        return [number for number, found in enumerate(self.classes) if found & members]
