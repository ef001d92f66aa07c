"""weft upgraded from an earlier commit and downgraded to it, while clients make requests of every kind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import install
import installed
import load
import pytest
import shop
import weft_image
from cluster import NODES
from installed import UP
from shop import SPACE, nothing_is_lost

# The earlier commit installs itself on nodes that are namespaces.
pytestmark = [pytest.mark.cluster, pytest.mark.machines]

# The last commit with the layout of the packages, the tables and the manifests of before the redesign.
EARLIER = os.environ.get("WEFT_UPGRADE_FROM", "12ed59c")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout of the earlier commit, which this repository has."""
    folder = tmp_path_factory.mktemp("earlier") / "weft"
    git = ("git", "-C", str(weft_image.ROOT), "worktree")
    subprocess.run([*git, "add", "--detach", folder, EARLIER], check=True)
    yield folder
    subprocess.run([*git, "remove", "--force", folder], check=True)


@pytest.fixture(scope="module")
def running_shop(earlier: Path) -> Iterator[None]:
    with shop.running(UP):
        yield


def install_earlier(checkout: Path) -> None:
    """Install the earlier commit by its own manifests, over what is there."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, checkout / "tests/cluster/install.py"]
    subprocess.run(command, cwd=checkout, env=environment, check=True)


def test_weft_is_downgraded_and_upgraded_under_load(running_shop: None, earlier: Path) -> None:
    clients = [load.every_kind(SPACE, node.name) for node in NODES]
    with load.running(*clients) as seen:
        install_earlier(earlier)
        install.install()
        for node in NODES:
            assert installed.status(node.name)["ready"]
    for found in seen.values():
        nothing_is_lost(found)
