"""Faults of weft's own code, kept to the object that they happened with: a bug that one object trips stops no other."""

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple

# How many are listed, and logged; more are counted.
LISTED = 100
TEXT_LIMIT = 300


class Fault(NamedTuple):
    """An exception that no code expects: in which part, with which object, and its text."""

    part: str
    subject: str
    error: str

    def document(self) -> dict[str, str]:
        """For `weft status`."""
        return {"part": self.part, "object": self.subject, "error": self.error}


Report = Callable[[Fault, Exception], None]


class Faults:
    """The faults that there are now, and how many there have been in each part."""

    def __init__(self, strict: bool = True, report: Report | None = None) -> None:
        """`strict` lets exceptions through, for tests. `report` gets each fault when it is new or has another text."""
        self._strict = strict
        self._report = report
        self._current: dict[tuple[str, object], Fault] = {}
        self._counts: Counter[str] = Counter()

    def guard(self, part: str, subject: object) -> "_Guard":
        """A block that works on one object. An `Exception` in it ends the block, is counted, and stays listed until a
        block of the same part and object succeeds. What is no `Exception`, cancellation above all, goes through.
        """
        return _Guard(self, part, subject)

    def counts(self) -> dict[str, int]:
        """How many there have been, by part."""
        return dict(self._counts)

    def listed(self) -> list[Fault]:
        """The faults that there are now, at most `LISTED`."""
        return sorted(self._current.copy().values())

    def forget(self, part: str, subject: object) -> None:
        """The object is gone, or was worked on without a fault."""
        if self._current:
            self._current.pop((part, subject), None)

    def keep(self, part: str, subjects: Iterable[object]) -> None:
        """Forget the faults of a part with all other objects: they are gone."""
        if self._current:
            kept = set(subjects)
            for place in [place for place in self._current if place[0] == part and place[1] not in kept]:
                self._current.pop(place, None)

    def caught(self, part: str, subject: object, error: Exception) -> bool:
        """Note a fault; whether it ends here."""
        if self._strict:
            return False
        self._counts[part] += 1
        text = " ".join(f"{type(error).__name__}: {error}".split())[:TEXT_LIMIT]
        fault, place = Fault(part, str(subject), text), (part, subject)
        if self._current.get(place) != fault and (place in self._current or len(self._current) < LISTED):
            self._current[place] = fault
            if self._report is not None:
                self._report(fault, error)
        return True


class _Guard:
    __slots__ = ("_faults", "_part", "_subject")

    def __init__(self, faults: Faults, part: str, subject: object) -> None:
        self._faults = faults
        self._part = part
        self._subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if error is None:
            self._faults.forget(self._part, self._subject)
            return False
        return isinstance(error, Exception) and self._faults.caught(self._part, self._subject, error)
