"""Kernels as `kernels.toml` declares them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

DECLARED = Path(__file__).with_name("kernels.toml")
Entry = TypeVar("Entry")


class DeclarationError(Exception):
    """kernels.toml or jobs.toml is wrong, or has no such entry; the message names it."""


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel of the table: Debian's package, and what it must have and must not have."""

    package: str
    name: str = ""
    default: bool = False
    like: str = ""
    features: dict[str, bool] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    floor: str
    kernels: dict[str, Kernel]


def declared(text: str | None = None) -> dict[str, Kernel]:
    """All kernels, by name. Raises `DeclarationError`."""
    try:
        found = msgspec.toml.decode(DECLARED.read_text() if text is None else text, type=_File).kernels
    except msgspec.DecodeError as error:
        raise DeclarationError(f"{DECLARED.name}: {error}") from error
    return {name: _complete(name, kernel, found) for name, kernel in found.items()}


def _complete(name: str, kernel: Kernel, others: Mapping[str, Kernel]) -> Kernel:
    """With its name, and with the features of the kernel that it is like."""
    if bool(kernel.features) == bool(kernel.like):
        raise DeclarationError(f"kernel {name}: needs either a table of features, or the kernel that it is like")
    features = kernel.features or (others[kernel.like].features if kernel.like in others else {})
    if not features:
        raise DeclarationError(f"kernel {name}: is like {kernel.like}, which has no table of features")
    return msgspec.structs.replace(kernel, name=name, features=features)


def chosen(entries: Mapping[str, Entry], names: Sequence[str], what: str) -> list[Entry]:
    """The entries of these names. Raises `DeclarationError`."""
    if missing := [name for name in names if name not in entries]:
        raise DeclarationError(f"no {what} {', '.join(missing)}: there are {', '.join(entries)}")
    return [entries[name] for name in names]
