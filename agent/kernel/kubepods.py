"""Where the kubelet's cgroup for pods is."""

from collections.abc import Iterator
from pathlib import Path

DEPTH = 4  # /docker/<id>/kubelet.slice/kubelet-kubepods.slice
CGROUP2_MOUNTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


class KubepodsError(Exception):
    """There is no such cgroup, or more than one. The message is one sentence."""


def find_kubepods() -> Path:
    """The kubelet's cgroup for pods, in cgroup v2 or in the v2 part of a hybrid hierarchy. Raises `KubepodsError`."""
    mounts = [mount for mount in CGROUP2_MOUNTS if (mount / "cgroup.controllers").exists()]
    found = [folder for mount in mounts for folder in _kubepods_below(mount, DEPTH)]
    if len(found) == 1:
        return found[0]
    if found:
        raise KubepodsError(f"--kubepods: which of {', '.join(map(str, sorted(found)))}?")
    raise KubepodsError("--kubepods: no kubepods or kubepods.slice under a cgroup2 mount; is a kubelet running here?")


def _kubepods_below(folder: Path, depth: int) -> Iterator[Path]:
    """The kubelets' cgroups. With --cgroup-root they are some levels down: `kubelet.slice/kubelet-kubepods.slice`."""
    try:
        folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:  # a container that ended
        return
    for below in folders:
        if below.name.removesuffix(".slice").rpartition("-")[2] == "kubepods":
            yield below
        elif depth > 1:
            yield from _kubepods_below(below, depth - 1)
