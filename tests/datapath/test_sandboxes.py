"""The addresses of a pod's sandbox, read from a real network namespace through a real cgroup."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.ir.identity import Workload
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.kernel.sandboxes import Sandboxes
from agent.lab import cgroups
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.facts import PodCgroup, PodSandbox
from agent.model.meta import Key
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import Node

pytestmark = pytest.mark.bpf

PATIENCE = 10.0
ADDRESSES = ("10.9.0.7", "fd00::7")
# As a sandbox: it is in its cgroup, in the node's network still, before it is in its own, which has its addresses.
SANDBOX = """
echo $$ > "$1/cgroup.procs"; echo begun; read go
exec unshare --net sh -c '
    ip link set lo up; ip address add 10.9.0.7/32 dev lo; ip address add fd00::7/128 dev lo
    ip address add fe80::7/64 dev lo; echo ready; sleep 600'
"""


@contextmanager
def sandbox(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A pod with a process that waits for a line, and then has a network of its own."""
    container = folder / "container"
    container.mkdir(parents=True)
    command = ["sh", "-c", SANDBOX, "sh", str(container)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            cgroups.kill(folder)
            cgroups.remove(folder)


def line(process: subprocess.Popen[str], text: str = "") -> str:
    """Say something, and hear what it says next."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.flush()
    return process.stdout.readline()


async def soon(changes: AsyncIterator[list[Change]]) -> list[Change]:
    return await asyncio.wait_for(anext(changes), PATIENCE)


async def until_reported(
    changes: AsyncIterator[list[Change]], uid: str, addresses: tuple[str, ...], first: list[Change] | None = None
) -> None:
    """Until the sandbox is told with these addresses; it may be seen while it has but some of them."""
    batch = first or await soon(changes)
    while batch != [Upsert(PodSandbox(uid, addresses))]:
        batch = await soon(changes)


def plan(
    name: str, flags: PodFlag = PodFlag.NONE, addresses: tuple[str, ...] = (), provisional: bool = False
) -> PodPlan:
    """A pod's plan as it is made of its status."""
    workload = Workload("app", name, name, "")
    return PodPlan(Key("Pod", "app", name), "app", Mode.L7, flags, addresses, workload, provisional=provisional)


async def test_addresses_are_told_when_the_sandbox_has_its_own(node: Node, helper: NetnsHelper) -> None:
    sandboxes = Sandboxes(node.kubepods, helper.client)
    changes = sandboxes.changes()
    assert await soon(changes) == [Synced("sandboxes")]
    folder = node.kubepods / "podbeef"
    with sandbox(folder) as process:
        assert line(process) == "begun\n"
        sandboxes.expect([Upsert(PodCgroup("beef", folder.stat().st_ino))])
        change = asyncio.ensure_future(anext(changes))
        # As often as it takes to be seen: what is told is not the node's addresses.
        done, _ = await asyncio.wait([change], timeout=0.2)
        assert not done
        assert await asyncio.to_thread(line, process, "go\n") == "ready\n"
        await until_reported(changes, "beef", ADDRESSES, await asyncio.wait_for(change, PATIENCE))
    sandboxes.expect([Delete(PodCgroup("beef", 1).key)])
    assert await soon(changes) == [Delete(PodSandbox("beef").key)]
    await changes.aclose()


async def test_a_pod_that_goes_before_it_has_any_hurts_nobody(node: Node, helper: NetnsHelper) -> None:
    sandboxes = Sandboxes(node.kubepods, helper.client)
    changes = sandboxes.changes()
    await soon(changes)
    folder = node.kubepods / "podfade"
    with sandbox(folder) as process:
        assert line(process) == "begun\n"
        sandboxes.expect([Upsert(PodCgroup("fade", folder.stat().st_ino))])
    sandboxes.expect([Delete(PodCgroup("fade", 1).key)])
    assert await soon(changes) == [Delete(PodSandbox("fade").key)]
    await changes.aclose()


async def test_a_pod_on_the_host_s_network_is_not_looked_at(node: Node, helper: NetnsHelper) -> None:
    plans: dict[int, PodPlan] = {}
    sandboxes = Sandboxes(node.kubepods, helper.client, lambda: plans)
    changes = sandboxes.changes()
    await soon(changes)
    folder = node.kubepods / "podcafe"
    folder.mkdir()
    change = asyncio.ensure_future(anext(changes))
    try:
        sandboxes.expect([Upsert(PodCgroup("cafe", folder.stat().st_ino))])
        await asyncio.sleep(0.1)
        assert sandboxes.awaited == {"cafe"}
        plans[folder.stat().st_ino] = plan("cafe", PodFlag.L4_ONLY)
        async with asyncio.timeout(PATIENCE):
            while sandboxes.awaited:
                await asyncio.sleep(0.01)
        assert not change.done()
    finally:
        change.cancel()
        folder.rmdir()


async def test_a_sandbox_is_taken_back_when_the_status_names_addresses(node: Node, helper: NetnsHelper) -> None:
    plans: dict[int, PodPlan] = {}
    sandboxes = Sandboxes(node.kubepods, helper.client, lambda: plans)
    changes = sandboxes.changes()
    await soon(changes)
    folder = node.kubepods / "podface"
    with sandbox(folder) as process:
        line(process)
        line(process, "go\n")
        cgroup = folder.stat().st_ino
        sandboxes.expect([Upsert(PodCgroup("face", cgroup))])
        await until_reported(changes, "face", ADDRESSES)
        plans[cgroup] = plan("face", addresses=ADDRESSES, provisional=True)
        change = asyncio.ensure_future(anext(changes))
        done, _ = await asyncio.wait([change], timeout=0.3)
        assert not done
        plans[cgroup] = plan("face", addresses=ADDRESSES)
        assert await asyncio.wait_for(change, PATIENCE) == [Delete(PodSandbox("face").key)]
    assert sandboxes.awaited == set()


async def test_the_addresses_of_a_sandbox_that_is_gone_are_taken_back(node: Node, helper: NetnsHelper) -> None:
    sandboxes = Sandboxes(node.kubepods, helper.client)
    changes = sandboxes.changes()
    await soon(changes)
    folder = node.kubepods / "podbabe"
    with sandbox(folder) as process:
        line(process)
        line(process, "go\n")
        sandboxes.expect([Upsert(PodCgroup("babe", folder.stat().st_ino))])
        await until_reported(changes, "babe", ADDRESSES)
        cgroups.kill(folder / "container")
        assert await soon(changes) == [Delete(PodSandbox("babe").key)]
        assert sandboxes.awaited == {"babe"}
