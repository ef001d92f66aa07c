"""Pod cgroups: the directories that the kubelet makes before the first container of a pod starts."""

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import suppress
from pathlib import Path

from agent.kernel import abi
from agent.kernel.libc import LIBC, check
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup

# What of linux/inotify.h is asked for: entries made, gone or renamed, and the end of the folder itself.
_CREATE, _DELETE, _MOVED_FROM, _MOVED_TO, _DELETE_SELF, _ONLYDIR = 0x100, 0x200, 0x40, 0x80, 0x400, 0x01000000
_EVENTS = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _DELETE_SELF | _ONLYDIR
_READ_SIZE = 65536
# What the kernel answers about a cgroup or a process that is gone, depending on how far its removal is.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESRCH})
# cgroupfs: pod<uid>; systemd: kubepods-burstable-pod<uid with _ for ->.slice. A slice's name repeats those of the
# slices above it, which are more than these where the kubelet has a --cgroup-root (kind: kubelet-kubepods-...).
_POD = re.compile(r"(?:[^/\0]+-)?pod([0-9a-f_-]+)(?:\.slice)?")
_QOS = re.compile(r"(?:[^/\0]+-)?(?:besteffort|burstable)(?:\.slice)?")


def levels(root: Path, mounts: str | None = None) -> tuple[int, int]:
    """First and last level at which pods can be below the kubepods folder `root`; the root of cgroup v2 is level 0.

    Guaranteed pods are one level below it, other pods in the folder of their quality of service. From within a cgroup
    namespace the depth of the mounted part is not visible (for example on a node that is a container). Then the result
    covers every level that the programs examine. `mounts` is the text of /proc/self/mountinfo; tests pass another.

    A mount made outside the namespace has a part that begins with `..`. One made inside looks like the whole tree, but
    only cgroups that are not the root have a type (cgroups(7), cgroup.type).
    """
    part, point = _mounted(root, Path("/proc/self/mountinfo").read_text() if mounts is None else mounts)
    own = len(root.relative_to(point).parts)
    if part.parts[1:2] == ("..",) or (part == Path("/") and (point / "cgroup.type").exists()):
        return own + 1, own + abi.MAX_LEVELS
    return own + len(part.parts), own + len(part.parts) + 1


def _mounted(folder: Path, mounts: str) -> tuple[Path, Path]:
    """The part of its file system that is mounted at `folder`, and the mount point."""
    fields = [line.split() for line in mounts.splitlines()]
    found = [(Path(point), Path(part)) for _, _, _, part, point, *_ in fields if folder.is_relative_to(point)]
    # Where mounts are stacked, the last one is in effect.
    point, part = max(reversed(found), key=lambda mount: len(mount[0].parts))
    return part, point


def _folders(parent: Path) -> list[os.DirEntry[str]]:
    """The folders below `parent`; none when it is gone, also when it goes while it is read. Raises other `OSError`s."""
    try:
        with os.scandir(parent) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def _parents(root: Path) -> list[Path]:
    """The folders that can hold pod cgroups."""
    return [root, *(Path(entry.path) for entry in _folders(root) if _QOS.fullmatch(entry.name))]


def _pods(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The folder of every pod below `root`, by pod uid (for a static pod: by the hash of its configuration)."""
    for parent in _parents(root):
        for entry in _folders(parent):
            if found := _POD.fullmatch(entry.name):
                yield found[1].replace("_", "-"), entry


def pod_folders(root: Path) -> dict[str, Path]:
    """The cgroup folder of each pod, by pod uid."""
    return {uid: Path(entry.path) for uid, entry in _pods(root)}


def folders_of(root: Path, cgroups: Container[int]) -> dict[int, Path]:
    """The folders of pods by cgroup id: of these cgroups those that are there."""
    found: dict[int, Path] = {}
    for folder in pod_folders(root).values():
        with suppress(FileNotFoundError):
            if (cgroup := folder.stat().st_ino) in cgroups:
                found[cgroup] = folder
    return found


def pod_folder(root: Path, name: str) -> Path:
    """The cgroup folder of a pod, named relative to `root`. Raises `ValueError` where a pod cannot be."""
    *above, pod = name.split("/")
    if not _POD.fullmatch(pod) or len(above) > 1 or not all(map(_QOS.fullmatch, above)):
        raise ValueError(f"not the cgroup of a pod: {name!r}")
    return Path(root, *above, pod)


def find_pod_cgroups(root: Path) -> dict[str, PodCgroup]:
    """Every pod cgroup below `root`, by pod uid."""
    return {uid: PodCgroup(uid, entry.inode()) for uid, entry in _pods(root)}


def processes(folder: Path) -> Iterator[Path]:
    """The /proc folder of each process of a cgroup and of the cgroups below it.

    Pods create and remove cgroups meanwhile; those that are gone are skipped.
    """
    # Not `Path.rglob`, which raises `FileNotFoundError` for a folder that is removed while it is walked.
    for parent, _, _ in os.walk(folder):
        try:
            numbers = Path(parent, "cgroup.procs").read_text().split()
        except OSError:  # removed, also while it was read (ENODEV), or a threaded cgroup
            continue
        yield from (Path("/proc", number) for number in numbers)


def difference(before: dict[str, PodCgroup], after: dict[str, PodCgroup]) -> list[Upsert | Delete]:
    """The changes between two scans. A folder that was removed and created again has a new inode: an upsert."""
    gone = [Delete(pod.key) for uid, pod in before.items() if uid not in after]
    return [*gone, *(Upsert(pod) for uid, pod in after.items() if before.get(uid) != pod)]


class _Watch:
    """An inotify instance in an event loop. It signals that something changed; a scan finds out what."""

    def __init__(self) -> None:
        self._fd = check(LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._event = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._event.set)

    def add(self, folder: Path) -> None:
        """Watch a folder; idempotent. A folder that is gone is no error: the watch of its parent signals that."""
        try:
            check(LIBC.inotify_add_watch(self._fd, os.fsencode(folder), _EVENTS), "inotify")
        except FileNotFoundError:
            return

    async def wait(self) -> None:
        """Wait until something changed since the last call."""
        await self._event.wait()
        self._event.clear()
        # The loop may have seen the descriptor readable twice before this task ran.
        with suppress(BlockingIOError):
            os.read(self._fd, _READ_SIZE)

    def close(self) -> None:
        """Remove all watches."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


def _watched(root: Path) -> list[Path]:
    """The folders to watch: those that can hold pod cgroups, or the nearest existing one above them."""
    if root.is_dir():
        return [root.parent, *_parents(root)]
    return [next(folder for folder in root.parents if folder.is_dir())]


async def watch_pod_cgroups(root: Path) -> AsyncIterator[list[Upsert | Delete]]:
    """Yields the pod cgroups that exist (possibly none), and then each change.

    `root` may be created later. Watches are set before each scan, so the scan misses nothing that is created in
    between. Raises `OSError`.
    """
    watch = _Watch()
    known: dict[str, PodCgroup] = {}
    first = True
    try:
        while True:
            folders = _watched(root)
            for folder in folders:
                watch.add(folder)
            found = find_pod_cgroups(root)
            changes = difference(known, found)
            known = found
            if changes or first:
                yield changes
            first = False
            if _watched(root) == folders:
                await watch.wait()
    finally:
        watch.close()
