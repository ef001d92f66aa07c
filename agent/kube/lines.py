"""A watch's bytes into its lines."""

from collections.abc import Iterator

# An object is 1.5 MB at most in etcd, where it may be stored more tightly than JSON.
MAX_LINE = 16_000_000


class LineTooLongError(Exception):
    """No API server sends this."""


class Lines:
    """Splits chunks into lines; what is left without an end when the stream breaks is none."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that this chunk completes. Raises `LineTooLongError`."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = b"".join([*self._parts, end])
            self._parts, self._size = [], 0
            if line:
                yield line
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > MAX_LINE:
            raise LineTooLongError(f"a line of more than {MAX_LINE} bytes")
