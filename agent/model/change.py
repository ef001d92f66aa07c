"""What sources say: something is so now, something is gone, something could not be read, or all is known."""

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
    """The value with this key is now so."""

    value: Keyed


@dataclass(frozen=True, slots=True)
class Delete:
    """There is no value with this key any more."""

    key: Key


@dataclass(frozen=True, slots=True)
class Problem:
    """A document or object that could not be used; what was known of it before stays in force.

    `where` is the file and document, `subject` the object (`HTTPRoute faces/smiley`) as far as it could be read,
    `field` the JSON path of what is wrong, `$` when it is the whole. `beside` is what can be said of it all the same.
    """

    where: str
    subject: str
    field: str
    message: str
    beside: tuple[Keyed, ...] = ()

    def __str__(self) -> str:
        """One line: where, what, which field, why."""
        return f"{self.where}: {self.subject}: {self.field}: {self.message}"


def internal_error(where: str, subject: str) -> Problem:
    """That an object could not be read because of a bug in weft."""
    return Problem(where, subject, "$", "cannot be read because of an internal error, which the log shows")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was a problem at this place is none any more."""

    where: str


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that existed at the start has been said; from now on absence means deletion."""

    source: str


Change = Upsert | Delete | Problem | Resolved | Synced


def subject_of(change: Change) -> Key | Change:
    """The object that a change is about; the change itself where it is about none."""
    match change:
        case Upsert(value):
            return value.key
        case Delete(key):
            return key
    return change
