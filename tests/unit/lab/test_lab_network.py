"""What a lab removes of the machine's network when it ends."""

from pathlib import Path

import pytest

from agent.lab import network
from agent.lab.paths import LabPaths


def test_another_lab_removes_the_folder_of_handles_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its mark goes last: between the two a lab that ends finds the mark and no folder."""
    mark = tmp_path / "mark"
    mark.touch()
    monkeypatch.setattr(network, "_MADE_MARK", mark)
    monkeypatch.setattr(network, "NETNS_DIR", tmp_path / "gone")
    network.remove_stale(LabPaths("any"))
    assert mark.exists()
