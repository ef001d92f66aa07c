"""A lock for the removal of what killed test runs left: a test run has several processes, and one removes at a time."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = Path(tempfile.gettempdir(), "weft-tests-leftovers.lock")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Holds a lock of this machine's test processes. The kernel releases it when the process ends, however it ends."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
