"""Errors in the fields of a Route, with the reason for its condition."""

from dataclasses import dataclass

UNSUPPORTED = "UnsupportedValue"
INCOMPATIBLE = "IncompatibleFilters"
# A reason of ours: the Gateway API has none for an object above a limit of its implementation.
TOO_LARGE = "TooLarge"


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field of a Route that cannot be implemented as written: the condition's reason, the JSON path and a message."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"
