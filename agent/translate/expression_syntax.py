"""RE2's syntax, as a tree. The expression is one that RE2 accepts for Latin-1: https://github.com/google/re2/wiki/Syntax.

A set of bytes is an integer of 256 bits. What matches no byte (anchors, word boundaries, flags) is left out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

EVERY_BYTE = (1 << 256) - 1
MAX_DEPTH = 50
UNBOUNDED = -1


class TooDeepError(Exception):
    """There are more than `MAX_DEPTH` groups within each other."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """One byte of a set."""

    members: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """At least and at most so often; `UNBOUNDED`."""

    part: "Node"
    least: int
    most: int


Node = Bytes | Sequence | Choice | Repetition


def _set(members: Iterable[int]) -> int:
    found = 0
    for member in members:
        found |= 1 << member
    return found


def _between(*bounds: str) -> int:
    return _set(byte for bound in bounds for byte in range(ord(bound[0]), ord(bound[1]) + 1))


_DIGIT = _between("09")
_WORD = _between("09", "AZ", "az", "__")
_PERL = {"d": _DIGIT, "w": _WORD, "s": _set(b"\t\n\f\r ")}
_POSIX = {
    "alnum": _between("09", "AZ", "az"),
    "alpha": _between("AZ", "az"),
    "ascii": _set(range(128)),
    "blank": _set(b"\t "),
    "cntrl": _set([*range(32), 127]),
    "digit": _DIGIT,
    "graph": _between("!~"),
    "lower": _between("az"),
    "print": _between(" ~"),
    "punct": _between("!/", ":@", "[`", "{~"),
    "space": _set(b"\t\n\v\f\r "),
    "upper": _between("AZ"),
    "word": _WORD,
    "xdigit": _between("09", "AF", "af"),
}
_CONTROLS = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_NOT_NEWLINE = EVERY_BYTE & ~(1 << 10)
_REPETITIONS = {"*": (0, UNBOUNDED), "+": (1, UNBOUNDED), "?": (0, 1)}
# With the question mark of a lazy one, which changes no language.
_REPETITION = re.compile(r"(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})\??")
_GROUP = re.compile(r"\?(?:P?<\w+>|([imsU]*(?:-[imsU]+)?)([:)]))")
_NUMBER = re.compile(r"x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|([0-7]{1,3})")
_NAMED = re.compile(r"\[:(\^?)(\w+):\]")


def parsed(expression: str) -> Node:
    """The tree. Raises `TooDeepError`."""
    # A character for each byte that Envoy compares.
    return _Parser(expression.encode().decode("latin-1")).choice(frozenset())


class _Parser:
    """Reads an expression from left to right. `flags` are those in force: `i` and `s` matter."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    def choice(self, flags: frozenset[str]) -> Node:
        """Up to the end of the group."""
        options, parts = [], list[Node]()
        while self._at < len(self._text) and self._text[self._at] != ")":
            character = self._text[self._at]
            if character == "|":
                self._at += 1
                options.append(Sequence(tuple(parts)))
                parts = []
            elif character == "(" and (changed := self._flags(flags)) is not None:
                flags = changed
            elif self._text.startswith(r"\Q", self._at):
                parts += self._literal(flags)
            elif parts and self._repetition():
                # After flags, or a literal of nothing: it is the part's before them.
                parts.append(self._repeated(parts.pop()))
            else:
                parts.append(self._repeated(self._item(flags)))
        options.append(Sequence(tuple(parts)))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _flags(self, flags: frozenset[str]) -> frozenset[str] | None:
        """Those in force from `(?flags)` on; None where there is none."""
        found = _GROUP.match(self._text, self._at + 1)
        if not found or found[2] != ")":
            return None
        self._at = found.end()
        return _with(flags, found[1])

    def _literal(self, flags: frozenset[str]) -> list[Node]:
        """What is between `\\Q` and `\\E`."""
        text, _, _ = self._text[self._at + 2 :].partition(r"\E")
        self._at = min(self._at + 2 + len(text) + 2, len(self._text))
        made: list[Node] = [Bytes(_folded(1 << ord(character), flags)) for character in text]
        return [*made[:-1], self._repeated(made[-1])] if made else []

    def _item(self, flags: frozenset[str]) -> Node:
        character = self._text[self._at]
        if character == "(":
            return self._group(flags)
        if character == "[":
            return Bytes(self._class(flags))
        if character == "\\":
            return self._escaped(flags)
        self._at += 1
        if character in "^$":
            return Sequence(())
        if character == ".":
            return Bytes(EVERY_BYTE if "s" in flags else _NOT_NEWLINE)
        return Bytes(_folded(1 << ord(character), flags))

    def _group(self, flags: frozenset[str]) -> Node:
        found = _GROUP.match(self._text, self._at + 1)
        self._at = found.end() if found else self._at + 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeepError
        made = self.choice(_with(flags, found[1]) if found and found[1] else flags)
        self._depth -= 1
        self._at += 1
        return made

    def _escaped(self, flags: frozenset[str]) -> Node:
        following = self._text[self._at + 1]
        if following in "AzbBE":
            self._at += 2
            return Sequence(())
        if following == "C":
            self._at += 2
            return Bytes(EVERY_BYTE)
        return Bytes(_folded(self._escape(), flags))

    def _escape(self) -> int:
        """The bytes of a backslash and what follows."""
        self._at += 1
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            hexadecimal = found[1] or found[2]
            return EVERY_BYTE & 1 << (int(hexadecimal, 16) if hexadecimal else int(found[3], 8))
        character = self._text[self._at]
        self._at += 1
        if character.lower() in _PERL:
            members = _PERL[character.lower()]
            return members if character.islower() else EVERY_BYTE & ~members
        return 1 << _CONTROLS.get(character, ord(character))

    def _class(self, flags: frozenset[str]) -> int:
        """The bytes of `[...]`. A bracket that comes first is a member."""
        self._at += 1
        negated = self._text[self._at] == "^"
        self._at += negated
        members, first = 0, True
        while first or self._text[self._at] != "]":
            first = False
            members |= self._members()
        self._at += 1
        members = _folded(members, flags)
        return EVERY_BYTE & ~members if negated else members

    def _members(self) -> int:
        """Those of a name, or of a byte or a range of bytes."""
        if found := _NAMED.match(self._text, self._at):
            self._at = found.end()
            return EVERY_BYTE & ~_POSIX[found[2]] if found[1] else _POSIX[found[2]]
        first = self._member()
        follows = self._text[self._at : self._at + 2]
        if first.bit_count() > 1 or follows[0] != "-" or follows[1] == "]":
            return first
        self._at += 1
        last = self._member()
        return (last << 1) - first

    def _member(self) -> int:
        if self._text[self._at] == "\\":
            return self._escape()
        self._at += 1
        return 1 << ord(self._text[self._at - 1])

    def _repetition(self) -> re.Match[str] | None:
        return _REPETITION.match(self._text, self._at)

    def _repeated(self, part: Node) -> Node:
        """The part with the repetitions that follow it."""
        while found := self._repetition():
            self._at = found.end()
            if found[1]:
                part = Repetition(part, *_REPETITIONS[found[1]])
            else:
                least = int(found[2])
                part = Repetition(part, least, int(found[4]) if found[4] else UNBOUNDED if found[3] else least)
        return part


def _with(flags: frozenset[str], changes: str | None) -> frozenset[str]:
    added, _, removed = (changes or "").partition("-")
    return (flags | set(added)) - set(removed)


def _folded(members: int, flags: frozenset[str]) -> int:
    """With the letters of the other case where the flag `i` is set."""
    if "i" not in flags:
        return members
    upper, lower = _between("AZ"), _between("az")
    return members | (members & upper) << 32 | (members & lower) >> 32
