"""What a Route asks for and does not get."""

from dataclasses import dataclass

UNSUPPORTED = "UnsupportedValue"
INCOMPATIBLE = "IncompatibleFilters"


@dataclass(frozen=True, slots=True)
class FieldError:
    """Something that a Route asks for and does not get."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"
