"""Labs for tests: real pods in network namespaces, swept away also when a former run was killed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_handle import FACES, LabFactory, LabHandle
from leftovers import one_at_a_time

from agent.cli.lab import wait_agent
from agent.lab import lifecycle
from agent.lab.families import IPFamily
from agent.lab.paths import NETNS_DIR, ROOT, LabPaths, cgroup2_mount


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with labs runs once in each family that its marker `ip_families` names."""
    marker = metafunc.definition.get_closest_marker("ip_families")
    if marker and "ip_family" in metafunc.fixturenames:
        metafunc.parametrize("ip_family", [IPFamily(name) for name in marker.args], ids=str, scope="module")


def _sweep_dead() -> None:
    """Labs of test runs whose process is gone."""
    folders = (ROOT, NETNS_DIR, cgroup2_mount())
    entries = [entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    found = (re.fullmatch(r"(?:weft-)?(t(\d+)[a-z]*)(?:-.*)?", entry) for entry in entries)
    for name, pid in {(match[1], match[2]) for match in found if match}:
        if not Path("/proc", pid).exists():
            lifecycle.down(LabPaths(name))


@contextmanager
def _labs(family: IPFamily) -> Iterator[LabFactory]:
    """Labs of a family that are taken down at the end."""
    made: list[LabHandle] = []

    def make(suffix: str, manifests: list[Path], agent: bool = False) -> LabHandle:
        handle = LabHandle(f"t{os.getpid()}{suffix}")
        made.append(handle)
        lifecycle.up(handle.paths, manifests, agent=agent, family=family)
        if agent:
            wait_agent(handle.paths)
        return handle

    try:
        yield make
    finally:
        for handle in made:
            lifecycle.down(handle.paths)


@pytest.fixture(scope="session")
def swept() -> None:
    """What killed runs left is gone."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with one_at_a_time():
        _sweep_dead()


@pytest.fixture(scope="module")
def ip_family() -> IPFamily:
    """The family of a module's labs where no marker names others."""
    return IPFamily.IPV4


@pytest.fixture(scope="module")
def make_lab(swept: None, ip_family: IPFamily) -> Iterator[LabFactory]:
    """Bring up labs by suffix: `make_lab("x", [files], agent=True)`; all are taken down after the module, or before
    those of another family are made.
    """
    with _labs(ip_family) as make:
        yield make


@pytest.fixture(scope="session")
def lab(swept: None) -> Iterator[LabHandle]:
    """The faces example without an agent: the cluster as it is before any mesh."""
    with _labs(IPFamily.IPV4) as make:
        yield make("", [FACES])
