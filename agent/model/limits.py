"""What the API server's schemas forbid of lists and names in Routes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

# The JSON path, and what is wrong there.
Violation = tuple[str, str]

MAX_LIST = 16
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")


def too_many(field: str, items: Sequence[Any], most: int) -> Iterator[Violation]:
    """A list that is longer than its schema allows."""
    if len(items) > most:
        yield field, f"{len(items)} are more than {most}"


def twice(field: str, items: Sequence[object]) -> Iterator[Violation]:
    """A list that the schema calls a set."""
    for position, item in enumerate(items):
        if item in items[:position]:
            yield f"{field}[{position}]", f"{str(item)[:80]!a} is there twice"
