"""A run that ends sockets and fails is tried again; one that does not end is killed. The processes are real."""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.datapath.driver import BackendsRemoved
from agent.ir.tables import Protocol, address_bytes
from agent.ir.waypoint_state import ClientsRevoked
from agent.kernel.socket_terminator import SocketTerminator

UDP = BackendsRemoved(Protocol.UDP, (address_bytes("10.96.0.1"), 53), frozenset())
TCP = BackendsRemoved(Protocol.TCP, (address_bytes("10.96.0.1"), 80), frozenset())
PATHS = Path("/pins"), Path("/pods"), Path("/netns.sock")

# Writes its process id and its task into a folder; what else it does the first time is put in.
PROGRAM = """
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
run = len(list(folder.glob("task-*")))
task = json.load(sys.stdin)
(folder / "new").write_text(json.dumps([os.getpid(), [row[0] for row in task["frontends"]], task["clients"]]))
(folder / "new").rename(folder / f"task-{{run}}")
if run == 0:
    {first}
print(json.dumps({{"17": 1}}))
"""


def program(folder: Path, first: str) -> tuple[str, str]:
    return "-c", PROGRAM.format(folder=str(folder), first=first)


@asynccontextmanager
async def running(terminator: SocketTerminator):
    task = asyncio.create_task(terminator.run())
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def tasks(folder: Path) -> list[str]:
    """The protocols of the frontends of each run."""
    return [str(json.loads(path.read_text())[1]) for path in sorted(folder.glob("task-*"))]


def alive(folder: Path, run: int) -> bool:
    process = (folder / f"task-{run}").read_text().strip("[]").partition(",")[0]
    return Path("/proc", process).exists()


async def test_a_run_that_failed_is_tried_again_without_another_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, "sys.exit('no maps')"))
    async with running(terminator):
        terminator.submit([UDP])
        await until(lambda: terminator.ended)
    assert tasks(tmp_path) == ["[17]", "[17]"]
    assert caplog.records[0].__dict__["error"] == "no maps"
    assert (terminator.waiting, dict(terminator.ended)) == ({}, {Protocol.UDP: 1})


async def test_what_is_lost_meanwhile_goes_with_the_next_try(tmp_path: Path) -> None:
    wait = "while not (folder / 'go').exists(): time.sleep(0.01)\n    sys.exit('no maps')"
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, wait))
    async with running(terminator):
        terminator.submit([UDP])
        await until(lambda: tasks(tmp_path))
        terminator.submit([TCP])
        (tmp_path / "go").touch()
        await until(lambda: terminator.ended)
    assert tasks(tmp_path)[1] in ("[17, 6]", "[6, 17]")


async def test_a_run_that_does_not_end_is_killed_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = program(tmp_path, "time.sleep(3600)")
    terminator = SocketTerminator(*PATHS, list, hanging, run_seconds=3.0)
    async with running(terminator):
        terminator.submit([UDP])
        await until(lambda: terminator.ended)
    assert caplog.records[0].__dict__["error"] == "not done after 3 s"
    assert not alive(tmp_path, 0)


async def test_connections_to_waypoints_are_revoked_until_a_run_has_ended_them(tmp_path: Path) -> None:
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, "sys.exit('no maps')"))
    assert not terminator.revoking
    async with running(terminator):
        terminator.revoke_clients([ClientsRevoked("10.9.0.1", 20000, frozenset({"10.0.0.2"}))], [7])
        assert terminator.revoking
        await until(lambda: terminator.ended)
        await until(lambda: not terminator.revoking)
    found = [json.loads(path.read_text())[2] for path in sorted(tmp_path.glob("task-*"))]
    assert found == [[["10.9.0.1", 20000, ["10.0.0.2"], False]]] * 2


async def test_however_often_policies_change_a_port_of_a_waypoint_is_in_a_run_once(tmp_path: Path) -> None:
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, "sys.exit('no maps')"))
    async with running(terminator):
        for number in range(100):
            terminator.revoke_clients([ClientsRevoked("10.9.0.1", 20000, frozenset({f"10.0.0.{number}"}))], [7])
        await until(lambda: terminator.ended)
    found = [json.loads(path.read_text())[2] for path in sorted(tmp_path.glob("task-*"))]
    clients = sorted(f"10.0.0.{number}" for number in range(100))
    assert found == [[["10.9.0.1", 20000, clients, False]]] * 2


@pytest.mark.parametrize("one_all_but", [False, True])
@pytest.mark.parametrize("other_all_but", [False, True])
def test_a_merge_ends_what_either_ends(one_all_but: bool, other_all_but: bool) -> None:
    one = ClientsRevoked("10.9.0.1", 20000, frozenset("ab"), one_all_but)
    other = ClientsRevoked("10.9.0.1", 20000, frozenset("bc"), other_all_but)

    def ends(found: ClientsRevoked, client: str) -> bool:
        return (client in found.clients) is not found.all_but

    for client in "abcd":
        assert ends(one.merged(other), client) == (ends(one, client) or ends(other, client)), client


async def test_a_run_ends_with_the_agent(tmp_path: Path) -> None:
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, "time.sleep(3600)"))
    async with running(terminator):
        terminator.submit([UDP])
        await until(lambda: tasks(tmp_path))
        assert alive(tmp_path, 0)
    assert not alive(tmp_path, 0)


async def test_what_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    terminator = SocketTerminator(*PATHS, list, program(tmp_path, "pass"))
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(tmp_path / "nowhere"))
        async with running(terminator):
            terminator.submit([UDP])
            await until(lambda: terminator.runs)
    assert "nowhere" in caplog.records[0].__dict__["error"]
    async with running(terminator):
        await until(lambda: terminator.ended)


async def test_nothing_runs_where_the_kernel_cannot_end_sockets(tmp_path: Path) -> None:
    unable = SocketTerminator(*PATHS, list, program(tmp_path, "pass"), able=False)
    able = SocketTerminator(*PATHS, list, program(tmp_path, "pass"))
    async with running(unable), running(able):
        unable.submit([TCP])
        able.submit([UDP])
        await until(lambda: able.runs)
    assert (unable.waiting, unable.runs) == ({}, 0)
    assert tasks(tmp_path) == ["[17]"]
