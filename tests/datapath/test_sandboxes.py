"""The addresses of a pod's sandbox, read from a real network namespace through a real cgroup."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from datapath_node import Node

from agent.kernel.sandboxes import Sandboxes
from agent.lab import cgroups
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.facts import PodCgroup, PodSandbox

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


async def test_addresses_are_told_when_the_sandbox_has_its_own(node: Node) -> None:
    sandboxes = Sandboxes(node.kubepods, "self")
    changes = sandboxes.changes()
    assert await soon(changes) == [Synced("sandboxes")]
    folder = node.kubepods / "podbeef"
    with sandbox(folder) as process:
        assert line(process) == "begun\n"
        sandboxes.expect([Upsert(PodCgroup("beef", folder.stat().st_ino))])
        told = asyncio.ensure_future(anext(changes))
        # As often as it takes to be seen: what is told is not the node's addresses.
        done, _ = await asyncio.wait([told], timeout=0.2)
        assert not done
        assert await asyncio.to_thread(line, process, "go\n") == "ready\n"
        assert await asyncio.wait_for(told, PATIENCE) == [Upsert(PodSandbox("beef", ADDRESSES))]
    sandboxes.expect([Delete(PodCgroup("beef", 1).key)])
    assert await soon(changes) == [Delete(PodSandbox("beef").key)]
    await changes.aclose()


async def test_a_pod_that_goes_before_it_has_any_hurts_nobody(node: Node) -> None:
    sandboxes = Sandboxes(node.kubepods, "self")
    changes = sandboxes.changes()
    await soon(changes)
    folder = node.kubepods / "podfade"
    with sandbox(folder) as process:
        assert line(process) == "begun\n"
        sandboxes.expect([Upsert(PodCgroup("fade", folder.stat().st_ino))])
    sandboxes.expect([Delete(PodCgroup("fade", 1).key)])
    assert await soon(changes) == [Delete(PodSandbox("fade").key)]
    await changes.aclose()
