"""The watch on a real cgroup tree: a pod's directory, from its making to its removal."""

import asyncio

import pytest
from datapath_node import Node

from agent.kernel.cgroups import find_pod_cgroups, watch_pod_cgroups
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup

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
