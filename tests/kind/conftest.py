"""What tests of kind share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import builds
import pytest
import weft_image
from recorded import Recorded

# What a cluster of kind is made of beside kind and kubectl.
PROGRAMS = ((builds.ECHO, "server"), (builds.ECHO, "client"), (builds.PAUSE, "pause"))


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """A machine whose docker, kind and kubectl only write down how they are called."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the cluster's folder is in /run")
    found, cache = Recorded(tmp_path), tmp_path / "cache"
    found.stand_in(tmp_path / "bin/docker")
    for tool, name in ((builds.KIND, "kind"), (builds.KUBERNETES, "kubectl")):
        found.stand_in(cache / builds.program_folder(tool, name) / name)
    for tool, name in PROGRAMS:
        _write(cache / builds.program_folder(tool, name) / name)
    for version in builds.CONFORMANCE:
        (cache / builds.gateway_api_folder(version) / "experimental").mkdir(parents=True)
    (cache / builds.multicluster_folder()).mkdir()
    for stage in weft_image.NAMES:
        _write(cache / f"weft-{weft_image.tag()}" / f"{stage}.tar")
    yield found
    shutil.rmtree(Path("/run") / found.name, ignore_errors=True)


def _write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
