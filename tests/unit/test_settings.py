"""What the agent finds out for itself at start."""

from pathlib import Path

import pytest

from agent import settings
from agent.settings import SettingsError, find_kubepods, parse_cidrs, parse_collector, parse_endpoint
from agent.translate.options import Collector


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup2 mount, beside one that is none: a hybrid tree."""
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").touch()
    (tmp_path / "memory" / "kubepods").mkdir(parents=True)
    monkeypatch.setattr(settings, "CGROUP2_MOUNTS", (unified, tmp_path))
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
    with pytest.raises(SettingsError, match="is a kubelet running here"):
        find_kubepods()


def test_several_kubelets_need_a_word(mount: Path):
    for name in ("one", "two"):
        (mount / name / "kubepods").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"which of .*/one/kubepods, .*/two/kubepods"):
        find_kubepods()


@pytest.mark.parametrize(("text", "expected"), [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0))])
def test_endpoints(text: str, expected: tuple[str, int]):
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", "9464", ":9464", "a:b", "a:65536"])
def test_what_is_no_endpoint(text: str):
    with pytest.raises(SettingsError, match="HOST:PORT"):
        parse_endpoint(text)


def test_a_collector():
    assert parse_collector(None, 1) is None
    assert parse_collector("[fd00::1]:4317", 0.5) == Collector("fd00::1", 4317, 0.5)


@pytest.mark.parametrize("text", ["otel", "otel:0", "otel:99999"])
def test_what_is_no_collector(text: str):
    with pytest.raises(SettingsError, match="--otlp-endpoint: "):
        parse_collector(text, 1)


def test_ranges_of_imports_are_read_and_what_is_none_is_named():
    assert [str(found) for found in parse_cidrs(["243.0.0.0/8", "fd00:243::/32"])] == ["243.0.0.0/8", "fd00:243::/32"]
    for text in ("243.0.0.1/8", "243.0.0.0/33", "here", ""):
        with pytest.raises(SettingsError, match="--clusterset-cidr: "):
            parse_cidrs([text])
