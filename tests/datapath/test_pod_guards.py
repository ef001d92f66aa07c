"""The guards of protected pods: attached, kept, taken over and detached, in real network namespaces."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, Grant
from agent.ir.tables import UNSPECIFIED, address_bytes
from agent.kernel.authorization_rows import PROTECTED_CODEC
from agent.kernel.bpffs import opened
from agent.kernel.maps import HashTable
from agent.kernel.network_links import ATTACHED, NetworkLinks
from agent.kernel.pod_links import NOT_FOUND, UNSEEN
from agent.kernel.programs import AUTHORIZE, Pins
from agent.lab import cgroups
from support.datapath.node import Node
from support.datapath.protected_pod import (
    CLIENT,
    OPEN,
    PROTECTED,
    SERVER,
    UNKNOWN_CLIENT,
    ProtectedPod,
    pod_that_admits_one,
)

pytestmark = pytest.mark.bpf

MAX_PROGRAMS = 64  # NETNS_BPF_MAX_PROGS of the kernel: of one hook in one network namespace


@pytest.fixture
def pod(node: Node) -> Iterator[ProtectedPod]:
    with pod_that_admits_one(node.pins, node.kubepods, node.version) as made:
        yield made


def test_a_pod_is_protected_from_one_look_until_a_look_without_it(pod: ProtectedPod) -> None:
    assert pod.outcomes() == OPEN
    assert pod.look() == ATTACHED
    (link,) = pod.links
    assert pod.outcomes() == PROTECTED
    assert (pod.look(), pod.links, pod.drifts) == (ATTACHED, [link], [])
    pod.guards.look({})
    assert (pod.links, pod.guards.states) == ([], {})
    assert pod.outcomes() == OPEN, "it is open when the look returns"


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
    assert pod.outcomes() == PROTECTED
    assert (pod.look(), pod.links, pod.drifts) == (ATTACHED, links, [])
    pod.guards = pod.new_guards()
    pod.guards.look({})
    assert (pod.links, pod.outcomes()) == ([], OPEN)


def test_one_that_others_removed_is_attached_again_and_reported(pod: ProtectedPod) -> None:
    pod.look()
    NetworkLinks(Pins(pod.pins).pod_guards, Path()).detach(pod.links[0].name)
    assert pod.outcomes() == OPEN
    assert (pod.look(), pod.drifts) == (ATTACHED, [1])
    assert pod.outcomes() == PROTECTED


def test_a_pin_whose_link_others_detached_is_replaced(pod: ProtectedPod) -> None:
    pod.look()
    (link,) = pod.links
    subprocess.run(["bpftool", "link", "detach", "pinned", link], check=True)
    assert pod.outcomes() == OPEN
    assert (pod.look(), pod.links) == (ATTACHED, [link])
    assert pod.outcomes() == PROTECTED


def test_a_namespace_that_is_gone_leaves_no_pin_and_its_successor_is_guarded(pod: ProtectedPod) -> None:
    """As when the sandbox of a pod fails and is made again."""
    pod.look()
    (link,) = pod.links
    pod.end()
    pod.start("pod1")
    assert pod.look() == ATTACHED
    assert pod.outcomes() == ("ECONNREFUSED", "ECONNREFUSED"), "guarded, and nobody listens"
    with pod.sockets.listen("4"):
        assert pod.outcomes() == PROTECTED
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
    assert unseen.states == {pod.cgroup: UNSEEN}
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
    assert (pod.outcomes(), pod.refusals()) == (OPEN, pod.refusals())
