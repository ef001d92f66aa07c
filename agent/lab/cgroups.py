"""The lab's cgroups: create, query, kill and remove."""

import errno
import time
from contextlib import suppress
from pathlib import Path

from agent.lab.patience import patient


def populated(cgroup: Path) -> bool:
    """Whether a process lives in this cgroup or below. Unlike a process id, it cannot be mistaken for another's."""
    with suppress(OSError):
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    return False


def kill(cgroup: Path, patience: float = 5.0) -> None:
    """SIGKILL everything in this cgroup and below (cgroup.kill, kernel 5.14), and wait until it is gone.

    At most `patient(patience)` seconds; raises TimeoutError when a process stays (uninterruptible sleep).
    """
    with suppress(FileNotFoundError):
        (cgroup / "cgroup.kill").write_text("1")
    wait_empty(cgroup, patience)


def wait_empty(cgroup: Path, patience: float) -> None:
    """Wait until no process is left, at most `patient(patience)` seconds, else raise TimeoutError."""
    end = time.monotonic() + patient(patience)
    while populated(cgroup):
        if time.monotonic() > end:
            raise TimeoutError(f"{cgroup}: processes are still there")
        time.sleep(patient(0.01))


def remove(cgroup: Path) -> None:
    """Remove this empty cgroup and those below it. The kernel may need a moment after the last exit (EBUSY)."""
    if not cgroup.is_dir():
        return
    for child in cgroup.iterdir():
        if child.is_dir():
            remove(child)
    for attempt in range(100):
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == 99:
                raise
            time.sleep(0.01)
        else:
            return
