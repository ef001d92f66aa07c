"""Where the kubelet's cgroup for pods is found."""

from pathlib import Path

import pytest

from agent.kernel import kubepods
from agent.kernel.kubepods import KubepodsError, find_kubepods


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup2 mount, beside one that is none: a hybrid tree."""
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").touch()
    (tmp_path / "memory" / "kubepods").mkdir(parents=True)
    monkeypatch.setattr(kubepods, "CGROUP2_MOUNTS", (unified, tmp_path))
    return unified


@pytest.mark.parametrize(
    "folder",
    [
        "kubepods",
        "kubepods.slice",
        "kubelet/kubepods",
        "kubelet.slice/kubelet-kubepods.slice",
        "docker/0a1b/kubelet.slice/kubelet-kubepods.slice",
    ],
)
def test_the_kubelet_s_cgroup_is_found(folder: str, mount: Path):
    (mount / "system.slice" / "containerd.service").mkdir(parents=True)
    (mount / folder / "kubepods-burstable.slice" / "kubepods").mkdir(parents=True)
    assert find_kubepods() == mount / folder


def test_no_kubelet(mount: Path):
    with pytest.raises(KubepodsError, match="is a kubelet running here"):
        find_kubepods()


def test_several_kubelets_need_a_word(mount: Path):
    for name in ("one", "two"):
        (mount / name / "kubepods").mkdir(parents=True)
    with pytest.raises(KubepodsError, match=r"which of .*/one/kubepods, .*/two/kubepods"):
        find_kubepods()
