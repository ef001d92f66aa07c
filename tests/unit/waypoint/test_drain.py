"""An Envoy that is asked to end waits only where another can take over."""

from pathlib import Path

import pytest

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint.drain import NoSuccessorError, drain
from agent.waypoint.process import admin_socket, is_draining, prepare, set_draining
from support.fakes.admin_socket import LIMITS, listen


def never(line: str) -> None:
    pytest.fail(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What two Envoys have; none of them listens yet."""
    for name in ("old", "new"):
        prepare(tmp_path / "xds.sock", Envoy(1, name, Addresses("10.1.1.1")), LIMITS)
    return tmp_path


async def test_nobody_waits_for_one_that_is_gone(folder: Path):
    listen(admin_socket(folder, "new")).close()
    with listen(admin_socket(folder, "old")), pytest.raises(NoSuccessorError):
        await drain(folder, "old", never)


async def test_nobody_waits_for_one_that_leaves_itself(folder: Path):
    set_draining(folder, "old", draining=True)
    sockets = [listen(admin_socket(folder, name)) for name in ("old", "new")]
    with sockets[0], sockets[1], pytest.raises(NoSuccessorError):
        await drain(folder, "new", never)


async def test_one_that_is_gone_itself_has_drained(folder: Path):
    with listen(admin_socket(folder, "new")):
        await drain(folder, "old", never)


def test_draining_is_what_was_written_last(folder: Path):
    results = []
    for draining in (True, False):
        set_draining(folder, "old", draining=draining)
        results.append(is_draining(folder, "old"))
    assert results == [True, False]
    assert not is_draining(folder, "nobody")
