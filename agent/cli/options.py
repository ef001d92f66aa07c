"""The options of a command as a dataclass: for commands with more options than a function should have parameters."""

import functools
from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def with_options(options: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """A decorator for a Typer command whose one parameter is the dataclass `options`. Each field becomes an option with
    the field's `Annotated` type and default.
    """
    hints = get_type_hints(options, include_extras=True)
    signature = Signature(
        Parameter(item.name, Parameter.KEYWORD_ONLY, default=item.default, annotation=hints[item.name])
        for item in fields(options)  # type: ignore[arg-type]
    )

    def decorate(command: Callable[[T], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_fields(**values: Any) -> None:
            command(options(**values))

        with_fields.__signature__ = signature  # type: ignore[attr-defined]
        return with_fields

    return decorate
