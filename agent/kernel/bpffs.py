"""The BPF file system, in which programs, maps and links are pinned."""

import ctypes
import os
from pathlib import Path


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, or that would hold it if it existed."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists()).resolve()
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(len(point), kind) for _, point, kind, *_ in mounts if existing.is_relative_to(point)]
    # Where mounts are stacked, the last one is in effect.
    return max(reversed(holding), key=lambda mount: mount[0])[1]


def mount(folder: Path) -> None:
    """Mount a bpffs at `folder`, unless `folder` is in one already. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    if filesystem(folder) == "bpf":
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"weft", os.fsencode(folder), b"bpf", ctypes.c_ulong(0), b"mode=0700"):
        error = ctypes.get_errno()
        raise OSError(error, f"cannot mount a bpf file system: {os.strerror(error)}", str(folder))


def unmount(folder: Path) -> None:
    """Remove an empty folder of a bpffs, or unmount the bpffs that is mounted there. Raises `OSError`."""
    library = ctypes.CDLL(None, use_errno=True)
    if folder.is_mount() and library.umount(os.fsencode(folder)):
        error = ctypes.get_errno()
        raise OSError(error, f"cannot unmount a bpf file system: {os.strerror(error)}", str(folder))
    if folder.exists():
        folder.rmdir()
