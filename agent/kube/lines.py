"""Splits the bytes of a watch into lines."""

from collections.abc import Iterator

# An object has at most 1.5 MB in etcd, where its encoding may be smaller than JSON.
MAX_LINE = 16_000_000


class LineTooLongError(Exception):
    """A line is longer than any that an API server sends."""


class LineSplitter:
    """Splits chunks into lines. An incomplete last line is dropped."""

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
