"""What is dear to make and never changes: one folder a thing, named by its version, complete or not there."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(os.environ.get("WEFT_CACHE", "/var/cache/weft"))


def kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The cache's folder `name`. When it is not there, `fill` makes it; a second caller waits for the first.

    Nobody sees half of it: `fill` gets another folder, which takes the name when it is complete.
    """
    folder = ROOT / name
    if folder.is_dir():
        return folder
    with alone(name):
        if not folder.is_dir():
            partial = ROOT / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fill(partial)
            partial.rename(folder)
    return folder


def found(name: str) -> Path:
    """The cache's folder `name`. Raises `LookupError` with the command that makes it."""
    folder = ROOT / name
    if not folder.is_dir():
        raise LookupError(f"needs {name}, which `make test-programs` brings")
    return folder


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock `name`; it ends with its process, however that ends."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
