"""What a build says while it goes on: each step with its time, and that it still runs."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_BEAT_SECONDS = 30


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print when a step begins, every half a minute that it goes on, and when it has ended."""
    begun, ended = time.monotonic(), threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT_SECONDS):
            print(f"  {what}: {time.monotonic() - begun:.0f} s so far", flush=True)

    print(f"{what} ...", flush=True)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    print(f"{what}: {time.monotonic() - begun:.0f} s", flush=True)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what has ended, and how long it took."""
    begun = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begun:.1f} s", flush=True)


def output(command: Sequence[str | Path], **options: object) -> str:
    """What a command prints; what it complains of is shown when it fails. Raises `CalledProcessError`."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.stdout
