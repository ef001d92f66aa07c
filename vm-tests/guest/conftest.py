"""A place for weft's programs, in the guest."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel import bpffs


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A folder for pins, and a cgroup."""
    mounted, cgroup = tmp_path_factory.mktemp("bpf"), Path("/sys/fs/cgroup/kubepods")
    bpffs.mount(mounted)
    cgroup.mkdir()
    yield mounted / "weft", cgroup
    cgroup.rmdir()
    subprocess.run(["umount", mounted], check=True)
