"""The guards of protected pods: attached, kept, taken over and detached, in real network namespaces."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, Grant, PeerRow
from agent.ir.tables import UNSPECIFIED, address_bytes
from agent.kernel import pod_guards
from agent.kernel.authorization_rows import PROTECTED_CODEC
from agent.kernel.bpffs import opened
from agent.kernel.features import SK_LOOKUP
from agent.kernel.links import detach, ensure
from agent.kernel.loader import prepare
from agent.kernel.maps import HashTable
from agent.kernel.network_links import ATTACHED, UNSUPPORTED, NetworkLinks
from agent.kernel.pod_guards import NOT_FOUND
from agent.kernel.programs import AUTHORIZE, SOURCES, Pins
from agent.lab import cgroups
from support.datapath.node import load
from support.datapath.protected_pod import CLIENT, SERVER, UNKNOWN_CLIENT, ProtectedPod

pytestmark = pytest.mark.bpf

MAX_PROGRAMS = 64  # NETNS_BPF_MAX_PROGS of the kernel: of one hook in one network namespace
FORMER = "f" * 16


@pytest.fixture
def pod(loaded: tuple[Path, Path]) -> Iterator[ProtectedPod]:
    """A pod that is not protected yet, and whose policies admit one client."""
    pins, kubepods = loaded
    made = ProtectedPod(pins, kubepods, prepare(pins, kubepods).version)
    try:
        made.know((CLIENT, PeerRow(1, 2)))
        made.set_grants(Grant(1, ANY_PORT))
        with made.sockets.listen("4"), made.sockets.listen("6"):
            yield made
    finally:
        made.close()


def outcomes(pod: ProtectedPod) -> tuple[str, str]:
    """What the client that is admitted and another come to."""
    return pod.dial(CLIENT), pod.dial(UNKNOWN_CLIENT)


PROTECTED = "connected", "ECONNREFUSED"
OPEN = "connected", "connected"


def test_a_pod_is_protected_from_one_look_until_a_look_without_it(pod: ProtectedPod) -> None:
    assert outcomes(pod) == OPEN
    assert pod.look() == ATTACHED
    (link,) = pod.links
    assert outcomes(pod) == PROTECTED
    assert (pod.look(), pod.links, pod.drifts) == (ATTACHED, [link], [])
    pod.guards.look({})
    assert (pod.links, pod.guards.states) == ([], {})
    assert outcomes(pod) == OPEN, "it is open when the look returns"


def addresses(pod: ProtectedPod) -> dict[int, tuple[bytes, bytes]]:
    """The pods whose datagrams the kernel remembers."""
    with opened(Pins(pod.pins).map_path("weft_protected")) as fd:
        return HashTable(fd, PROTECTED_CODEC).load()


def test_the_kernel_has_the_addresses_of_protected_pods(pod: ProtectedPod) -> None:
    pod.look()
    both = address_bytes(SERVER["4"]), address_bytes(SERVER["6"])
    assert addresses(pod) == {pod.cgroup: both}
    pod.guards.look(pod.plan(SERVER["6"]))
    assert addresses(pod) == {pod.cgroup: (UNSPECIFIED, both[1])}
    pod.guards.look({})
    assert addresses(pod) == {}


def test_it_stays_while_no_agent_runs_and_the_next_agent_knows_whose_it_is(pod: ProtectedPod) -> None:
    pod.look()
    links = pod.links
    pod.guards = pod.new_guards()
    assert outcomes(pod) == PROTECTED
    assert (pod.look(), pod.links, pod.drifts) == (ATTACHED, links, [])
    pod.guards = pod.new_guards()
    pod.guards.look({})
    assert (pod.links, outcomes(pod)) == ([], OPEN)


def test_one_that_others_removed_is_attached_again_and_reported(pod: ProtectedPod) -> None:
    pod.look()
    NetworkLinks(Pins(pod.pins).pod_guards, Path()).detach(pod.links[0].name)
    assert outcomes(pod) == OPEN
    assert (pod.look(), pod.drifts) == (ATTACHED, [1])
    assert outcomes(pod) == PROTECTED


def test_a_pin_whose_link_others_detached_is_replaced(pod: ProtectedPod) -> None:
    pod.look()
    (link,) = pod.links
    subprocess.run(["bpftool", "link", "detach", "pinned", link], check=True)
    assert outcomes(pod) == OPEN
    assert (pod.look(), pod.links) == (ATTACHED, [link])
    assert outcomes(pod) == PROTECTED


@pytest.mark.compiles
def test_another_version_updates_the_link(pod: ProtectedPod, tmp_path: Path) -> None:
    pod.look()
    links = pod.links
    shutil.copytree(SOURCES, tmp_path / "bpf")
    text = (tmp_path / "bpf/weft.c").read_text()
    (tmp_path / "bpf/weft.c").write_text(text.replace("if (is_admitted(ctx))", "if (!is_admitted(ctx))"))
    pod.guards = pod.new_guards(version=prepare(pod.pins, pod.kubepods, tmp_path / "bpf").version)
    assert (pod.look(), pod.links) == (ATTACHED, links)
    assert outcomes(pod) == PROTECTED[::-1]
    pod.guards = pod.new_guards()
    assert (pod.look(), outcomes(pod)) == (ATTACHED, PROTECTED)


def as_of_another_layout(pod: ProtectedPod) -> Path:
    """Move all that has the layout of this version to where another layout has it; returns that folder."""
    folders, former = Pins(pod.pins), pod.pins / FORMER
    pod.kernel.close()
    folders.tables.parent.rename(former)
    return former


@pytest.mark.compiles
def test_an_upgrade_to_another_layout_leaves_no_pod_open(pod: ProtectedPod) -> None:
    """At each moment: the former tables are in force until the new ones have the policies."""
    pod.look()
    former = as_of_another_layout(pod)
    seen = [outcomes(pod)]
    version = prepare(pod.pins, pod.kubepods).version
    seen.append(outcomes(pod))
    assert ensure(pod.pins, pod.kubepods, version)
    assert not former.exists()
    seen.append(outcomes(pod))
    assert seen == [PROTECTED] * 3
    pod.reopen()
    assert pod.kernel.servers.load() == {}, "these are the tables of this version"
    pod.know((UNKNOWN_CLIENT, PeerRow(1, 2)))
    pod.set_grants(Grant(1, ANY_PORT))
    assert outcomes(pod) == PROTECTED, "by the former tables"
    pod.guards = pod.new_guards()
    pod.guards.look(pod.plan(), complete=False)
    assert (pod.guards.states, outcomes(pod)) == ({pod.cgroup: ATTACHED}, PROTECTED), "by the former tables"
    assert (pod.look(), len(pod.links), pod.drifts) == (ATTACHED, 1, [])
    assert outcomes(pod) == PROTECTED[::-1], "by the new tables"


@pytest.mark.compiles
def test_a_version_that_does_not_know_it_leaves_none(pod: ProtectedPod) -> None:
    """It removes the tables of other layouts, with the links: nobody would write their policies any more."""
    pod.look()
    former = as_of_another_layout(pod)
    shutil.rmtree(former)
    load(pod.pins, pod.kubepods)
    pod.until_open(UNKNOWN_CLIENT)
    pod.reopen()


@pytest.mark.compiles
def test_nothing_of_it_is_left_by_detach(pod: ProtectedPod) -> None:
    pod.look()
    pod.kernel.close()
    detach(pod.pins)
    pod.until_open(UNKNOWN_CLIENT)
    load(pod.pins, pod.kubepods)
    pod.reopen()


def test_a_namespace_that_is_gone_leaves_no_pin_and_its_successor_is_guarded(pod: ProtectedPod) -> None:
    """As when the sandbox of a pod fails and is made again."""
    pod.look()
    (link,) = pod.links
    pod.end()
    pod.start("pod1")
    assert pod.look() == ATTACHED
    assert outcomes(pod) == ("ECONNREFUSED", "ECONNREFUSED"), "guarded, and nobody listens"
    with pod.sockets.listen("4"):
        assert outcomes(pod) == PROTECTED
    pod.until_gone(link)
    assert (len(pod.links), pod.drifts) == (1, [])


def test_a_pod_without_addresses_or_processes_is_not_found_and_others_are_guarded(pod: ProtectedPod) -> None:
    (plan,) = pod.plan().values()
    nowhere = {7: plan}
    pod.guards.look({**pod.plan("10.9.0.99"), **nowhere})
    assert pod.guards.states == {pod.cgroup: NOT_FOUND, 7: NOT_FOUND}
    pod.guards.look({**pod.plan(), **nowhere})
    assert pod.guards.states == {pod.cgroup: ATTACHED, 7: NOT_FOUND}


def test_the_network_of_the_node_is_never_guarded(pod: ProtectedPod) -> None:
    on_the_node = pod.new_guards(str(pod.sandbox.process.pid))
    on_the_node.look(pod.plan())
    assert on_the_node.states == {pod.cgroup: NOT_FOUND}
    unseen = pod.new_guards("nobody")
    unseen.look(pod.plan())
    assert unseen.states == {pod.cgroup: pod_guards.UNSEEN}
    assert pod.links == []
    unseen.look(pod.plan(*SERVER.values(), *CLIENT.values(), *UNKNOWN_CLIENT.values()))
    assert unseen.states == {pod.cgroup: ATTACHED}


def test_a_namespace_that_a_container_made_is_left_alone(pod: ProtectedPod) -> None:
    """It has other addresses, to which the policies of the pod do not apply."""
    inside = 'echo $$ > "$1/cgroup.procs"; exec unshare --net sh -c "ip link set lo up; echo ready; exec sleep 600"'
    folder = pod.sandbox.folder / "nested"
    folder.mkdir()
    with subprocess.Popen(["sh", "-c", inside, "sh", folder], stdout=subprocess.PIPE, text=True) as nested:
        assert nested.stdout is not None
        assert nested.stdout.readline() == "ready\n"
        assert (pod.look(), len(pod.links)) == (ATTACHED, 1)
        (link,) = pod.links
        assert link.name == f"{pod.cgroup}-{os.stat(f'/proc/{pod.sandbox.process.pid}/ns/net').st_ino}"
        cgroups.kill(folder)
        nested.wait()
    cgroups.remove(folder)


def test_an_error_at_one_pod_leaves_the_state_of_another_current(pod: ProtectedPod) -> None:
    aside, namespace = pod.pins / "aside", pod.namespace()
    full = NetworkLinks(aside, Pins(pod.pins).programs / pod.version / AUTHORIZE.name)
    try:
        for number in range(MAX_PROGRAMS):
            full.attach(namespace, str(number))
        (plan,) = pod.plan().values()
        pod.guards.look({**pod.plan(), 7: plan})
        assert pod.guards.states[pod.cgroup].startswith("not attached, trying again: [Errno 7] ")
        assert pod.guards.states[7] == NOT_FOUND
    finally:
        os.close(namespace)
        for link in aside.iterdir():
            full.detach(link.name)
        aside.rmdir()
    assert pod.look() == ATTACHED


def test_guards_that_cannot_be_read_have_an_unknown_state(pod: ProtectedPod) -> None:
    pod.look()
    foreign = Pins(pod.pins).pod_guards / "foreign"
    foreign.mkdir()
    try:
        with pytest.raises(OSError, match="bpf_obj_get") as caught:
            pod.look()
    finally:
        foreign.rmdir()
    assert pod.guards.states == {pod.cgroup: f"unknown: the guards cannot be read: {caught.value}"}
    assert pod.look() == ATTACHED


def test_a_pod_whose_policies_admit_all_is_as_open_as_without_a_guard(pod: ProtectedPod) -> None:
    pod.set_grants(Grant(ANY_CLIENT, ANY_PORT))
    pod.look()
    assert (outcomes(pod), pod.refusals()) == (OPEN, pod.refusals())


@pytest.mark.compiles
def test_a_kernel_without_the_hook_does_without(pod: ProtectedPod) -> None:
    version = prepare(pod.pins, pod.kubepods, without=frozenset([SK_LOOKUP])).version
    assert not (Pins(pod.pins).programs / version / AUTHORIZE.name).exists()
    pod.guards = pod.new_guards(version=version)
    assert (pod.look(), outcomes(pod)) == (UNSUPPORTED, OPEN)
