"""The C library: calls that Python does not have."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, failed: str = "", path: str | None = None) -> int:
    """The result of a call, unless it is -1: then raises `OSError` with errno. `failed` says what has failed, `path` at
    which file.
    """
    if result == -1:
        error = ctypes.get_errno()
        reason = os.strerror(error)
        raise OSError(error, f"{failed}: {reason}" if failed else reason, path)
    return result
