"""The changes that sources send: a value is set or deleted, an object cannot be read, the initial list is complete."""

from dataclasses import dataclass
from typing import Protocol

from agent.model.meta import Key


class Keyed(Protocol):
    """Anything that can be put into the store."""

    @property
    def key(self) -> Key:
        """Its identity."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """The value with its key is created or replaced."""

    value: Keyed


@dataclass(frozen=True, slots=True)
class Delete:
    """The value with this key is deleted."""

    key: Key


@dataclass(frozen=True, slots=True)
class Problem:
    """A document or object that could not be used; its former value stays in force.

    - `where`: the file and document.
    - `subject`: the object (`HTTPRoute faces/smiley`), as far as it could be read.
    - `field`: the JSON path of the error, `$` for the whole.
    - `facts`: what could be read of it all the same.
    """

    where: str
    subject: str
    field: str
    message: str
    facts: tuple[Keyed, ...] = ()

    def __str__(self) -> str:
        """One line: place, object, field, message."""
        return f"{self.where}: {self.subject}: {self.field}: {self.message}"


def internal_error(where: str, subject: str) -> Problem:
    """The problem of an object that could not be read because of a bug in weft."""
    return Problem(where, subject, "$", "cannot be read because of an internal error, which the log shows")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The problem at this place is resolved."""

    where: str


@dataclass(frozen=True, slots=True)
class Synced:
    """The source has sent everything that existed at the start; from now on absence means deletion."""

    source: str


Change = Upsert | Delete | Problem | Resolved | Synced


def subject_of(change: Change) -> Key | Change:
    """The object of a change; the change itself where it has none."""
    match change:
        case Upsert(value):
            return value.key
        case Delete(key):
            return key
    return change
