"""Labs for tests: real pods in network namespaces. Labs that a killed test run left are removed first."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli.lab import wait_agent
from agent.lab import lifecycle
from agent.lab.families import IPFamily
from agent.lab.paths import NETNS_DIR, ROOT, LabPaths, cgroup2_mount
from support.cleanup_lock import one_at_a_time
from support.node.lab_handle import LabFactory, LabHandle


def _remove_stale() -> None:
    """Remove the labs of test runs whose process has ended."""
    folders = (ROOT, NETNS_DIR, cgroup2_mount())
    entries = [entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    found = (re.fullmatch(r"(?:weft-)?(t(\d+)[a-z]*)(?:-.*)?", entry) for entry in entries)
    for name, pid in {(match[1], match[2]) for match in found if match}:
        if not Path("/proc", pid).exists():
            lifecycle.down(LabPaths(name))


@contextmanager
def labs(family: IPFamily) -> Iterator[LabFactory]:
    """A factory of labs of one IP family. All of them are removed at the end."""
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
def no_stale_labs() -> None:
    """Remove the labs that killed test runs left."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with one_at_a_time():
        _remove_stale()


@pytest.fixture(scope="module")
def ip_family() -> IPFamily:
    """The IP family of a module's labs, unless a marker names others."""
    return IPFamily.IPV4


@pytest.fixture(scope="module")
def make_lab(no_stale_labs: None, ip_family: IPFamily) -> Iterator[LabFactory]:
    """A factory of labs by suffix: `make_lab("x", [files], agent=True)`. All of them are removed after the module, or
    before labs of another family are created.
    """
    with labs(ip_family) as make:
        yield make
