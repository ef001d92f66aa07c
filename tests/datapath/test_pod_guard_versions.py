"""The guards of protected pods when their programs and tables are replaced or removed, in real network namespaces."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ir.authorization import ANY_PORT, Grant, PeerRow
from agent.kernel.features import SK_LOOKUP
from agent.kernel.links import detach, ensure
from agent.kernel.loader import prepare
from agent.kernel.network_links import ATTACHED, UNSUPPORTED
from agent.kernel.programs import AUTHORIZE, SOURCES, Pins
from support.datapath.node import load
from support.datapath.protected_pod import OPEN, PROTECTED, UNKNOWN_CLIENT, ProtectedPod, pod_that_admits_one

pytestmark = [pytest.mark.bpf, pytest.mark.compiles]

FORMER = "f" * 16


@pytest.fixture
def pod(loaded: tuple[Path, Path]) -> Iterator[ProtectedPod]:
    pins, kubepods = loaded
    with pod_that_admits_one(pins, kubepods, prepare(pins, kubepods).version) as made:
        yield made


def test_another_version_updates_the_link(pod: ProtectedPod, tmp_path: Path) -> None:
    pod.look()
    links = pod.links
    shutil.copytree(SOURCES, tmp_path / "bpf")
    text = (tmp_path / "bpf/weft.c").read_text()
    (tmp_path / "bpf/weft.c").write_text(text.replace("\tif (admitted)\n", "\tif (!admitted)\n"))
    pod.guards = pod.new_guards(version=prepare(pod.pins, pod.kubepods, tmp_path / "bpf").version)
    assert (pod.look(), pod.links) == (ATTACHED, links)
    assert pod.outcomes() == PROTECTED[::-1]
    pod.guards = pod.new_guards()
    assert (pod.look(), pod.outcomes()) == (ATTACHED, PROTECTED)


def as_of_another_layout(pod: ProtectedPod) -> Path:
    """Move all that has the layout of this version to where another layout has it; returns that folder."""
    folders, former = Pins(pod.pins), pod.pins / FORMER
    pod.kernel.close()
    folders.tables.parent.rename(former)
    return former


def test_an_upgrade_to_another_layout_leaves_no_pod_open(pod: ProtectedPod) -> None:
    """At each moment: the former tables are in force until the new ones have the policies."""
    pod.look()
    former = as_of_another_layout(pod)
    seen = [pod.outcomes()]
    version = prepare(pod.pins, pod.kubepods).version
    seen.append(pod.outcomes())
    assert ensure(pod.pins, pod.kubepods, version)
    assert not former.exists()
    seen.append(pod.outcomes())
    assert seen == [PROTECTED] * 3
    pod.reopen()
    assert pod.kernel.servers.load() == {}, "these are the tables of this version"
    pod.know((UNKNOWN_CLIENT, PeerRow(1, 2)))
    pod.set_grants(Grant(1, ANY_PORT))
    assert pod.outcomes() == PROTECTED, "by the former tables"
    pod.guards = pod.new_guards()
    pod.guards.look(pod.plan(), complete=False)
    assert (pod.guards.states, pod.outcomes()) == ({pod.cgroup: ATTACHED}, PROTECTED), "by the former tables"
    assert (pod.look(), len(pod.links), pod.drifts) == (ATTACHED, 1, [])
    assert pod.outcomes() == PROTECTED[::-1], "by the new tables"


def test_a_version_that_does_not_know_it_leaves_none(pod: ProtectedPod) -> None:
    """It removes the tables of other layouts, with the links: nobody would write their policies any more."""
    pod.look()
    former = as_of_another_layout(pod)
    shutil.rmtree(former)
    load(pod.pins, pod.kubepods)
    pod.until_open(UNKNOWN_CLIENT)
    pod.reopen()


def test_nothing_of_it_is_left_by_detach(pod: ProtectedPod) -> None:
    pod.look()
    pod.kernel.close()
    detach(pod.pins)
    pod.until_open(UNKNOWN_CLIENT)
    load(pod.pins, pod.kubepods)
    pod.reopen()


def test_a_kernel_without_the_hook_does_without(pod: ProtectedPod) -> None:
    version = prepare(pod.pins, pod.kubepods, without=frozenset([SK_LOOKUP])).version
    assert not (Pins(pod.pins).programs / version / AUTHORIZE.name).exists()
    pod.guards = pod.new_guards(version=version)
    assert (pod.look(), pod.outcomes()) == (UNSUPPORTED, OPEN)
