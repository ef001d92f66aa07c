"""The BPF file system, in which programs, maps and links are pinned."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.kernel import libbpf
from agent.kernel.libc import LIBC, check


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, or that would hold it if it existed."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists()).resolve()
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(len(point), kind) for _, point, kind, *_ in mounts if existing.is_relative_to(point)]
    # Where mounts are stacked, the last one is in effect.
    return max(reversed(holding), key=lambda mount: mount[0])[1]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the object pinned at `path`, closed at the end."""
    fd = libbpf.get(path)
    try:
        yield fd
    finally:
        os.close(fd)


def mount(folder: Path) -> None:
    """Mount a bpffs at `folder`, unless `folder` is in one already. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    if filesystem(folder) == "bpf":
        return
    mounted = LIBC.mount(b"weft", os.fsencode(folder), b"bpf", ctypes.c_ulong(0), b"mode=0700")
    check(mounted, "cannot mount a bpf file system", str(folder))


def unmount(folder: Path) -> None:
    """Remove an empty folder of a bpffs, or unmount the bpffs that is mounted there. Raises `OSError`."""
    if folder.is_mount():
        check(LIBC.umount(os.fsencode(folder)), "cannot unmount a bpf file system", str(folder))
    if folder.exists():
        folder.rmdir()
