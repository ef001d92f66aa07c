"""The watch on a real cgroup tree: a pod's directory, from its making to its removal."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.kernel.cgroups import find_pod_cgroups, processes, watch_pod_cgroups
from agent.kernel.netns.client import query
from agent.kernel.netns.namespaces import network_namespaces
from agent.kernel.netns.protocol import Look, Seen
from agent.kernel.netns.server import Server
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup
from support.datapath.node import Node

pytestmark = pytest.mark.bpf


async def test_a_pods_cgroup_comes_and_goes(node: Node) -> None:
    root = node.kubepods
    watch = watch_pod_cgroups(root)
    there = {change.value.pod_uid: change.value for change in await anext(watch)}
    assert there == find_pod_cgroups(root)
    folder = root / "podfeed"
    folder.mkdir()
    pod = PodCgroup("feed", folder.stat().st_ino)
    assert await asyncio.wait_for(anext(watch), 10) == [Upsert(pod)]
    (folder / "ctr").mkdir()
    (folder / "ctr").rmdir()
    folder.rmdir()
    assert await asyncio.wait_for(anext(watch), 10) == [Delete(pod.key)]
    await watch.aclose()


# Makes and removes cgroups in each other until it is killed.
CHURN = """
import os, sys
root = sys.argv[1]
print("begun", flush=True)
while True:
    made = [root + "/a" * depth for depth in range(1, 12)]
    for folder in made:
        os.mkdir(folder)
    for folder in reversed(made):
        os.rmdir(folder)
"""
WALKS = 1500


@contextmanager
def churn(folder: Path) -> Iterator[None]:
    """A pod whose nested cgroups come and go all the time."""
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", CHURN, str(folder)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
        finally:
            process.kill()
            process.wait()
            for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
                path.rmdir()
            folder.rmdir()


def test_cgroups_that_go_during_a_walk_hurt_nobody(node: Node) -> None:
    uid = "0c9d8c4e-3a3f-4b0e-9a53-1f6f8a1c2b3e"
    folder = node.kubepods / f"pod{uid}"
    helper = Server(node.kubepods, "self")
    with churn(folder):
        for _ in range(WALKS):
            assert list(processes(folder)) == []
            assert list(network_namespaces(folder)) == []
            assert helper.answer(Look((query(node.kubepods, folder),))) == (Seen({}, True), [])
            assert uid in find_pod_cgroups(node.kubepods)
