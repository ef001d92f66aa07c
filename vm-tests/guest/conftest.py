"""A place for weft's programs, in the guest."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel import bpffs


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for pins, and a cgroup."""
    mounted, cgroup = tmp_path / "bpf", Path("/sys/fs/cgroup/kubepods")
    bpffs.mount(mounted)
    cgroup.mkdir()
    yield mounted / "weft", cgroup
    cgroup.rmdir()
    subprocess.run(["umount", mounted], check=True)
