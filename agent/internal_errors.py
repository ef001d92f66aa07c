"""Internal errors: exceptions that no code expects. Each is confined to one object, so that work on others goes on."""

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple

# The number of errors that are listed and logged. Further ones are only counted.
LISTED = 100
TEXT_LIMIT = 300


class InternalError(NamedTuple):
    """An exception that no code expects: the part of weft that raised it, the object it worked on, and its text."""

    part: str
    subject: str
    error: str

    def document(self) -> dict[str, str]:
        """The entry in `weft status`."""
        return {"part": self.part, "object": self.subject, "error": self.error}


Report = Callable[[InternalError, Exception], None]


class InternalErrors:
    """The current internal errors, and the number of all internal errors of each part."""

    def __init__(self, strict: bool = True, report: Report | None = None) -> None:
        """`strict` raises exceptions, for tests. `report` is called with each error that is new or has another text."""
        self._strict = strict
        self._report = report
        self._current: dict[tuple[str, object], InternalError] = {}
        self._counts: Counter[str] = Counter()

    def guard(self, part: str, subject: object) -> "_Guard":
        """A context for work on one object. An `Exception` ends the block and is counted. It stays listed until a block
        of the same part and object succeeds. Other exceptions, such as cancellation, are raised.
        """
        return _Guard(self, part, subject)

    def counts(self) -> dict[str, int]:
        """The number of errors since the start, by part."""
        return dict(self._counts)

    def listed(self) -> list[InternalError]:
        """The current errors, at most `LISTED`."""
        return sorted(self._current.copy().values())

    def forget(self, part: str, subject: object) -> None:
        """Remove the error of an object that was deleted, or for which the work succeeded."""
        if self._current:
            self._current.pop((part, subject), None)

    def keep(self, part: str, subjects: Iterable[object]) -> None:
        """Remove the errors of a part for all objects except `subjects`: the other objects were deleted."""
        if self._current:
            kept = set(subjects)
            for key in [key for key in self._current if key[0] == part and key[1] not in kept]:
                self._current.pop(key, None)

    def caught(self, part: str, subject: object, error: Exception) -> bool:
        """Record an exception. Returns whether it is handled; otherwise the caller raises it."""
        if self._strict:
            return False
        self._counts[part] += 1
        text = " ".join(f"{type(error).__name__}: {error}".split())[:TEXT_LIMIT]
        found, key = InternalError(part, str(subject), text), (part, subject)
        if self._current.get(key) != found and (key in self._current or len(self._current) < LISTED):
            self._current[key] = found
            if self._report is not None:
                self._report(found, error)
        return True


class _Guard:
    __slots__ = ("_errors", "_part", "_subject")

    def __init__(self, errors: InternalErrors, part: str, subject: object) -> None:
        self._errors = errors
        self._part = part
        self._subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if error is None:
            self._errors.forget(self._part, self._subject)
            return False
        return isinstance(error, Exception) and self._errors.caught(self._part, self._subject, error)
