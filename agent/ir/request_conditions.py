"""What a policy's rule asks of an HTTP request, and whether a request has it, as Envoy decides."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.ir.request import Request

AMBIGUOUS_PATH = r"(?is).*(?:(?://|\\|%(?:2[ef5]|3b|5c|00|c[01])).*|/\.\.?(?:[/;].*)?)"
"""Paths of which a server may read another one than Envoy: with `//`, a segment `.` or `..`, a backslash, or an encoded
`.`, `/`, `%`, `;`, `\\`, NUL or overlong UTF-8. RE2 and Python read the expression alike; it matches the whole path.
"""
AMBIGUOUS = re.compile(AMBIGUOUS_PATH)


@dataclass(frozen=True, slots=True, order=True)
class PathCondition:
    """A path, without the query. `exact`: this path. Else a prefix of whole segments: `/a` matches `/a` and `/a/b`, not
    `/ab` (HTTPPathMatch); `value` then has no `/` at its end, and is empty where it matches every path.
    """

    value: str
    exact: bool = True

    def matches(self, path: str) -> bool:
        """Whether a path, as the client sent it, is meant."""
        return path == self.value or (not self.exact and path.startswith(f"{self.value}/"))

    def covers(self, other: "PathCondition") -> bool:
        """Whether it matches every path that another one matches."""
        return (other.exact or not self.exact) and self.matches(other.value)

    def __str__(self) -> str:
        return self.value if self.exact else f"{self.value}/*"


@dataclass(frozen=True, slots=True, order=True)
class RequestConditions:
    """One of `methods`, one of `paths`, and all of `headers` (name and value, the name in lower case): a header that is
    there several times must have the value each time. An empty one of them asks for nothing.

    A condition on paths holds for no path that is ambiguous: the server might serve another one.
    """

    methods: tuple[str, ...] = ()
    paths: tuple[PathCondition, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def hold(self, request: Request) -> bool:
        """Whether a request has all of it."""
        return next(self.missed(request), None) is None

    def cover(self, other: "RequestConditions") -> bool:
        """Whether every request that has all that others ask for has all of it."""
        if (self.methods and not other.methods) or (self.paths and not other.paths):
            return False
        methods = not self.methods or {*other.methods} <= {*self.methods}
        paths = not self.paths or all(any(own.covers(path) for own in self.paths) for path in other.paths)
        return methods and paths and {*self.headers} <= {*other.headers}

    def missed(self, request: Request) -> Iterator[str]:
        """What a request lacks, for people."""
        if self.methods and request.method not in self.methods:
            yield f"the method is not {_either(self.methods)}"
        if self.paths and AMBIGUOUS.fullmatch(request.path):
            yield "the server may read the path as another one"
        elif self.paths and not any(item.matches(request.path) for item in self.paths):
            yield f"the path is not {_either(map(str, self.paths))}"
        for name, value in self.headers:
            if {*request.values(name)} != {value}:
                yield f"the header {name} is not {value!a}"

    def __str__(self) -> str:
        """For people: `GET or HEAD /a or /b/*, x-user: eve`; `any` where it asks for nothing."""
        head = " ".join(_either(map(str, items)) for items in (self.methods, self.paths) if items)
        fields = [f"{name}: {value}" for name, value in self.headers]
        return ", ".join([*([head] if head else []), *fields]) or "any"


ANY_REQUEST = RequestConditions()
"""Every request has what this asks for."""


def _either(items: Iterable[str]) -> str:
    return " or ".join(items)
