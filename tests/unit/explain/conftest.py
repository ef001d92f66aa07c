"""A folder of manifests."""

from pathlib import Path

import pytest

from support.explain import MESH, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "manifests", mesh=MESH)
