"""Files of Envoys that are gone are removed; those of others are not."""

import os
from pathlib import Path

import pytest

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint.process import admin_socket, prepare
from agent.waypoint.stale_files import remove_stale_files
from support.fakes.admin_socket import LIMITS, listen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agent's socket, an Envoy that is gone, one that serves, and one that starts."""
    agent = tmp_path / "xds.sock"
    agent.touch()
    for name in ("gone", "crashed", "serves", "starts"):
        bootstrap = prepare(agent, Envoy(1, name, Addresses("10.1.1.1")), LIMITS)
        if name != "starts":
            os.utime(bootstrap, (0, 0))
    return tmp_path


def test_only_what_gone_ones_left_is_removed(folder: Path):
    listen(admin_socket(folder, "crashed")).close()
    with listen(admin_socket(folder, "serves")):
        assert sorted(remove_stale_files(folder)) == ["crashed", "gone"]
        assert {file.name for file in folder.iterdir()} == {
            "xds.sock",
            "serves.json",
            "serves-retired",
            "serves-admin.sock",
            "starts.json",
            "starts-retired",
        }
        assert remove_stale_files(folder) == []
