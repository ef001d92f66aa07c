"""Pod cgroups by their folders. Plain folders do where only names and inodes count."""

import asyncio
from pathlib import Path

import pytest

from agent.kernel.cgroups import difference, find_pod_cgroups, levels, watch_pod_cgroups
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key

UID = "0c9d8c4e-3a3f-4b0e-9a53-1f6f8a1c2b3d"
UNDERSCORED = UID.replace("-", "_")


@pytest.mark.parametrize(
    "folder",
    [
        f"pod{UID}",
        f"besteffort/pod{UID}",
        f"burstable/pod{UID}",
        f"kubepods-pod{UNDERSCORED}.slice",
        f"kubepods-besteffort.slice/kubepods-besteffort-pod{UNDERSCORED}.slice",
        f"kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice",
        f"kubelet-kubepods-pod{UNDERSCORED}.slice",
        f"kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UNDERSCORED}.slice",
        f"a\\x2db-kubepods-besteffort.slice/a\\x2db-kubepods-besteffort-pod{UNDERSCORED}.slice",
    ],
)
def test_pods_are_found_in_both_layouts(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder / "cri-containerd-1.scope").mkdir(parents=True)
    (tmp_path / "system.slice").mkdir()
    assert find_pod_cgroups(tmp_path) == {UID: PodCgroup(UID, (tmp_path / folder).stat().st_ino)}


def test_a_static_pods_folder_is_named_by_a_hash(tmp_path: Path) -> None:
    name = "5d41402abc4b2a76b9719d911017c592"
    (tmp_path / f"pod{name}").mkdir()
    assert list(find_pod_cgroups(tmp_path)) == [name]


def test_no_root_is_no_pods(tmp_path: Path) -> None:
    assert find_pod_cgroups(tmp_path / "kubepods") == {}


def test_a_mount_made_in_a_cgroup_namespace_is_not_the_root_of_all_cgroups(tmp_path: Path) -> None:
    mounts = f"1 0 0:3 / {tmp_path} rw - cgroup2 cgroup rw\n"
    kubepods = tmp_path / "kubelet/kubepods"
    assert levels(kubepods, mounts) == (3, 4)
    (tmp_path / "cgroup.type").write_text("domain\n")
    assert levels(kubepods, mounts) == (3, 10)


def test_levels_count_from_the_mount() -> None:
    assert levels(Path("/proc/a/kubepods")) == (3, 4)


@pytest.mark.parametrize(
    ("part", "found"),
    [("/", (3, 4)), ("/docker/1", (5, 6)), ("/..", (3, 10)), ("/../../..", (3, 10))],
    ids=["all", "a part", "seen from a container", "seen from further below"],
)
def test_levels_count_from_the_root_of_all_cgroups(part: str, found: tuple[int, int]) -> None:
    mounts = f"""\
1 0 0:1 / / rw - ext4 /dev/vda rw
2 1 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw
3 2 0:3 {part} /sys/fs/cgroup rw - cgroup2 cgroup rw
"""
    assert levels(Path("/sys/fs/cgroup/kubelet/kubepods"), mounts) == found


def test_differences() -> None:
    before = {"a": PodCgroup("a", 1), "b": PodCgroup("b", 2), "c": PodCgroup("c", 3)}
    after = {"b": PodCgroup("b", 2), "c": PodCgroup("c", 4)}
    assert difference(before, after) == [Delete(Key("PodCgroup", "", "a")), Upsert(PodCgroup("c", 4))]


async def settle(watch, known: dict[str, int], wanted: dict[str, int]) -> None:
    """Take changes until what they say is what is wanted."""
    while known != wanted:
        for change in await asyncio.wait_for(anext(watch), 10):
            if isinstance(change, Upsert):
                known[change.value.pod_uid] = change.value.cgroup_id
            else:
                del known[change.key.name]


async def test_a_watch_follows_pods_of_a_root_that_comes_later(tmp_path: Path) -> None:
    root = tmp_path / "below" / "kubepods"
    watch = watch_pod_cgroups(root)
    assert await anext(watch) == []
    known: dict[str, int] = {}
    first, second = root / "poda1", root / "burstable" / "podb2"
    first.mkdir(parents=True)
    await settle(watch, known, {"a1": first.stat().st_ino})
    second.mkdir(parents=True)
    await settle(watch, known, {"a1": first.stat().st_ino, "b2": second.stat().st_ino})
    first.rmdir()
    await settle(watch, known, {"b2": second.stat().st_ino})
    second.rmdir()
    second.parent.rmdir()
    root.rmdir()
    await settle(watch, known, {})
    second.mkdir(parents=True)
    await settle(watch, known, {"b2": second.stat().st_ino})
    await watch.aclose()
