"""The network namespace helper, with the capabilities of its container and no others, about real pods."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel.netns.client import NetnsError, RefusedError, query
from agent.kernel.netns.namespaces import network
from agent.kernel.netns.protocol import MOST_DESCRIPTORS
from agent.lab import cgroups
from support.datapath.guarded_waypoint import WAYPOINT, Waypoint
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import Node
from support.privileges import of_container, with_only

pytestmark = pytest.mark.bpf

OTHER_USER = 65534
ASK = """
import sys
from pathlib import Path
from agent.kernel.netns.client import NetnsClient, query
print(NetnsClient(Path(sys.argv[1])).look([query(Path("/"), Path("/pod1"))]))
"""


@pytest.fixture
def kubepods(node: Node, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A kubepods cgroup of the test's own."""
    folder = node.kubepods.parent / "netns-helper"
    folder.mkdir()
    yield folder
    cgroups.kill(folder)
    cgroups.remove(folder)


@pytest.fixture
def restricted(kubepods: Path) -> Iterator[NetnsHelper]:
    made = NetnsHelper(kubepods, before=with_only(of_container("netns")))
    yield made
    made.close()


@pytest.fixture
def pod(kubepods: Path) -> Iterator[Waypoint]:
    made = Waypoint(kubepods / "pod1")
    yield made
    made.end()


def test_the_namespace_of_a_pod(restricted: NetnsHelper, pod: Waypoint, kubepods: Path) -> None:
    inode = network(Path("/proc", str(pod.process.pid)))
    assert inode is not None
    requested = query(kubepods, pod.folder, [WAYPOINT["6"]])
    seen = restricted.client.look([requested])
    found = seen.networks[requested.pod]
    assert (seen.knows_node, found.namespace) == (True, inode)
    # Those that were requested are first, so that others cannot cut them off.
    assert found.addresses[0] == WAYPOINT["6"]
    assert set(WAYPOINT.values()) < set(found.addresses)
    assert restricted.client.look([query(kubepods, pod.folder, ["10.9.0.99"])]).networks == {}
    with restricted.client.open(requested.pod, inode) as descriptor:
        assert descriptor is not None
        assert os.fstat(descriptor).st_ino == inode
    with restricted.client.open(requested.pod, inode + 1) as descriptor:
        assert descriptor is None


def test_the_namespace_of_the_node_is_never_given(restricted: NetnsHelper, kubepods: Path) -> None:
    """A pod on the network of the host has only a socket that lists and ends sockets there."""
    folder = kubepods / "pod2"
    folder.mkdir()
    with subprocess.Popen(["sleep", "600"]) as process:
        (folder / "cgroup.procs").write_text(str(process.pid))
        requested, inode = query(kubepods, folder), Path("/proc/self/ns/net").stat().st_ino
        assert restricted.client.look([requested]).networks == {}
        with restricted.client.open(requested.pod, inode) as descriptor:
            assert descriptor is None
        ((namespace, sockets),) = restricted.client.sockets(requested.pod)
        process.kill()
    with socket.socket(fileno=sockets) as diag:
        assert (namespace, diag.family, diag.proto) == (inode, socket.AF_NETLINK, 4)


def test_a_pod_with_more_namespaces_than_descriptors_in_a_message(restricted: NetnsHelper, kubepods: Path) -> None:
    folder = kubepods / "pod3"
    folder.mkdir()
    script = f"""
        echo $$ > "$1/cgroup.procs"
        for number in $(seq {MOST_DESCRIPTORS + 1}); do unshare --net sleep 600 & done
        until [ $(readlink $(sed 's,.*,/proc/&/ns/net,' "$1/cgroup.procs") | sort -u | wc -l) = {MOST_DESCRIPTORS + 2} ]
        do sleep 0.05; done; echo ready; wait"""
    command = ["sh", "-c", script, "sh", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = dict(restricted.client.sockets(query(kubepods, folder).pod))
        cgroups.kill(folder)
    for descriptor in found.values():
        os.close(descriptor)
    # Its own shell is on the network of the node.
    assert len(found) == MOST_DESCRIPTORS + 2


def test_it_has_left_the_network_and_has_its_capabilities_only(restricted: NetnsHelper) -> None:
    process = Path("/proc", str(restricted.process.pid))
    interfaces = (process / "net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert network(process) != network(Path("/proc/self"))
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    expected = (1 << 21) + (1 << 19)  # CAP_SYS_ADMIN, CAP_SYS_PTRACE
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (expected, expected)
    assert (int(status["CapAmb"], 16), status["NoNewPrivs"]) == (0, "1")


def test_another_user_is_refused(restricted: NetnsHelper) -> None:
    assert restricted.socket.stat().st_mode & 0o777 == 0o600
    restricted.socket.chmod(0o666)
    restricted.socket.parent.chmod(0o755)
    command = ["setpriv", f"--reuid={OTHER_USER}", "--clear-groups", sys.executable, "-c", ASK, str(restricted.socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "the network namespace helper does not answer" in done.stderr


def test_a_helper_that_starts_again_is_used(restricted: NetnsHelper, pod: Waypoint, kubepods: Path) -> None:
    client, requested = restricted.client, query(kubepods, pod.folder)
    restricted.stop()
    with pytest.raises(NetnsError, match=r"does not answer at .*refused"):
        client.look([requested])
    assert "refused" in client.error
    restricted.start()
    assert (client.look([requested]).networks.keys(), client.error) == ({requested.pod}, "")


def test_one_bad_request_after_the_other(restricted: NetnsHelper, pod: Waypoint, kubepods: Path) -> None:
    for _ in range(50):  # fewer than the kernel keeps for it
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(restricted.socket))
            client.sendall(b'{"type":')
    with pytest.raises(RefusedError, match="not the cgroup of a pod"):
        list(restricted.client.sockets("../../proc/1"))
    assert restricted.client.look([query(kubepods, pod.folder)]).networks
    assert restricted.process.poll() is None
