"""A protected pod as a client of UDP: the replies to its datagrams are not judged by its policies."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.ir.authorization import ALLOW_ALL, GrantKey, policy_set
from agent.ir.tables import Config, Mode, PodRow, address_bytes
from agent.kernel.network_links import ATTACHED
from support.datapath.node import Node
from support.datapath.protected_pod import CLIENT, PORT, SERVER, UNKNOWN_CLIENT, ProtectedPod

pytestmark = pytest.mark.bpf

ASK = """
import socket, sys
source, destination, port = sys.argv[1:]
with socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(10)
    client.bind((source, 0))
    client.sendto(b"?", (destination, int(port)))
    print(client.recv(64).decode())
"""
ENTER = 'echo $$ > "$1/cgroup.procs"; process=$2; shift 2; exec nsenter --net="/proc/$process/ns/net" "$@"'


@pytest.fixture
def pod(node: Node) -> Iterator[ProtectedPod]:
    """A protected pod that admits nobody, beside an address that is open to all."""
    made = ProtectedPod(node.pins, node.kubepods, node.version)
    try:
        first, last = node.levels
        made.kernel.configure(Config(first_level=first, last_level=last))
        made.kernel.pods.upsert({made.cgroup: PodRow(1, Mode.NONE)})
        made.set_grants()
        allow_all = policy_set(ALLOW_ALL)
        made.kernel.grants.upsert({GrantKey(allow_all, grant.identity, grant.port): True for grant in ALLOW_ALL})
        made.kernel.servers.upsert({address_bytes(address): allow_all for address in UNKNOWN_CLIENT.values()})
        assert made.look() == ATTACHED
        yield made
    finally:
        made.close()


def ask(pod: ProtectedPod, source: str, destination: str) -> "subprocess.Popen[str]":
    """A process of the pod that sends a datagram from an unconnected socket and prints the first that it receives."""
    inside = ("sh", "-c", ENTER, "sh", str(pod.sandbox.folder), str(pod.sandbox.process.pid))
    command = (*inside, sys.executable, "-c", ASK, source, destination, str(PORT))
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("mode", [Mode.NONE, Mode.L4], ids=str)
@pytest.mark.parametrize(("family", "prefix"), [("4", ""), ("6", ""), ("4", "::ffff:")], ids=["4", "6", "mapped"])
def test_only_the_peer_that_the_pod_asked_can_answer(pod: ProtectedPod, family: str, prefix: str, mode: Mode) -> None:
    pod.kernel.pods.upsert({pod.cgroup: PodRow(1, mode)})
    peer, other = (pod.sockets.make(family, socket.SOCK_DGRAM) for _ in range(2))
    with peer, other:
        peer.bind((UNKNOWN_CLIENT[family], PORT))
        other.bind((CLIENT[family], 0))
        with ask(pod, prefix + SERVER[family], prefix + UNKNOWN_CLIENT[family]) as process:
            _, asking = peer.recvfrom(64)
            before = pod.refusals()
            other.sendto(b"not asked", asking)
            assert pod.refusals() > before
            peer.sendto(b"answer", asking)
            assert process.communicate()[0] == "answer\n"
