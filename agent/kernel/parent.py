"""A child process that ends with its parent."""

import signal

from agent.kernel.libc import LIBC, check

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel end this process with the thread that started it (prctl(2)). Raises `OSError`."""
    check(LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
