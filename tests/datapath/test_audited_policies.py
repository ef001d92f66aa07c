"""Audited policies in the kernel: they refuse nobody, and what they would decide is counted, by real sockets."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, Grant, GrantKey, PeerRow, VerdictCounts, policy_set
from agent.ir.tables import Protocol, Reason, address_bytes
from agent.kernel.flows import EventReader
from agent.kernel.network_links import ATTACHED
from agent.kernel.programs import Pins
from support.datapath.node import Node
from support.datapath.protected_pod import CLIENT, PORT, SERVER, UNKNOWN_CLIENT, ProtectedPod

pytestmark = pytest.mark.bpf

ACCOUNT, OTHER = 11, 12
KNOWN = PeerRow(ACCOUNT, OTHER)
ADDRESSES = [address_bytes(address) for address in SERVER.values()]
FAMILIES = ("4", "6")
TCP_REPAIR = 19  # linux/tcp.h


class AuditedPod(ProtectedPod):
    """A pod at which policies are audited, and none is enforced."""

    def audit(self, *grants: Grant) -> None:
        """Replace what would be admitted, as the agent does it, and begin to count."""
        found = policy_set(sorted(grants))
        kernel = self.kernel
        kernel.audited_grants.upsert({GrantKey(found, grant.identity, grant.port): True for grant in grants})
        kernel.audited.upsert(dict.fromkeys(ADDRESSES, found))
        kernel.verdicts.upsert(dict.fromkeys(ADDRESSES, VerdictCounts()))

    def look_at(self, *, guarded: bool) -> tuple[str | None, str | None]:
        """The states of the guard and of the audit after a look."""
        self.guards.look(self.plan() if guarded else {}, True, self.plan())
        return self.guards.states.get(self.cgroup), self.guards.audit_states.get(self.cgroup)

    def counts(self, family: str) -> VerdictCounts:
        return self.kernel.verdicts.load()[address_bytes(SERVER[family])]

    def close(self) -> None:
        self.guards.look({})
        kernel = self.kernel
        for table in (kernel.audited, kernel.verdicts):
            table.delete(table.load())
        kernel.audited_grants.delete(kernel.audited_grants.load())
        super().close()


@pytest.fixture
def pod(node: Node) -> Iterator[AuditedPod]:
    """A pod whose audited policies would admit one client alone."""
    made = AuditedPod(node.pins, node.kubepods, node.version)
    try:
        made.know((CLIENT, KNOWN))
        made.audit(Grant(ACCOUNT, PORT))
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_audit_refuses_nobody_and_counts_who_it_would_refuse(pod: AuditedPod, family: str) -> None:
    assert pod.look_at(guarded=False) == (None, ATTACHED)
    before = pod.kernel.counters()[Reason.AUDIT_REFUSED]
    with pod.sockets.listen(family), pod.sockets.listen(family, port=PORT + 1):
        assert [pod.dial(client, family) for client in (CLIENT, CLIENT, UNKNOWN_CLIENT)] == ["connected"] * 3
        assert pod.dial(CLIENT, family, PORT + 1) == "connected"
    assert pod.counts(family) == VerdictCounts(audit_allowed=2, audit_refused=2)
    assert pod.kernel.counters()[Reason.AUDIT_REFUSED] - before == 2
    other = next(item for item in FAMILIES if item != family)
    assert pod.counts(other) == VerdictCounts()


def test_a_packet_of_a_connection_that_the_server_does_not_have_counts_as_one(pod: AuditedPod) -> None:
    """sk_lookup programs see no TCP flags. Linux runs them for each packet without a socket of its connection."""
    pod.look_at(guarded=False)
    with pod.sockets.listen("4") as server, pod.sockets.make("4") as client:
        client.bind((UNKNOWN_CLIENT["4"], 0))
        client.connect((SERVER["4"], PORT))
        assert pod.counts("4") == VerdictCounts(audit_refused=1)
        accepted, _ = server.accept()
        # In repair mode a socket is closed without a packet.
        accepted.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        accepted.close()
        client.send(b"data")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert pod.counts("4") == VerdictCounts(audit_refused=2)


def test_enforced_and_audited_policies_are_counted_apart(pod: AuditedPod) -> None:
    """The kernel runs the audit for connections that the guard refuses too."""
    pod.set_grants(Grant(ANY_CLIENT, PORT + 1))
    assert pod.look_at(guarded=True) == (ATTACHED, ATTACHED)
    with pod.sockets.listen("4"), pod.sockets.listen("4", port=PORT + 1):
        assert [pod.dial(client) for client in (CLIENT, UNKNOWN_CLIENT)] == ["ECONNREFUSED"] * 2
        assert [pod.dial(client, port=PORT + 1) for client in (CLIENT, UNKNOWN_CLIENT)] == ["connected"] * 2
    assert pod.counts("4") == VerdictCounts(allowed=2, refused=2, audit_allowed=1, audit_refused=3)


def test_the_pod_itself_and_unknown_addresses_are_not_counted(pod: AuditedPod) -> None:
    pod.look_at(guarded=False)
    with pod.sockets.listen("4"):
        assert pod.sockets.dial(SERVER["4"], SERVER["4"]) == "connected"
        assert pod.sockets.dial("127.0.0.1", "127.0.0.1") == "connected"
        assert pod.sockets.dial(CLIENT["4"], UNKNOWN_CLIENT["4"]) == "connected", "an address without a row"
    assert pod.counts("4") == VerdictCounts()


def test_a_refusal_is_an_event_with_both_ends(pod: AuditedPod) -> None:
    pod.look_at(guarded=False)
    reader: EventReader = pod.kernel.events()
    before = pod.kernel.configuration()
    pod.kernel.configure(replace(before, events=100))
    try:
        reader.read()
        with pod.sockets.listen("4"):
            assert [pod.dial(client) for client in (CLIENT, UNKNOWN_CLIENT)] == ["connected"] * 2
        (found,) = [event for event in reader.read() if event.reason is Reason.AUDIT_REFUSED]
    finally:
        pod.kernel.configure(before)
        reader.close()
    assert (found.original, found.original_port) == (address_bytes(SERVER["4"]), PORT)
    assert (found.backend, found.cgroup_id, found.protocol) == (address_bytes(UNKNOWN_CLIENT["4"]), 0, Protocol.TCP)
    assert found.backend_port


def test_datagrams_are_counted_each(pod: AuditedPod) -> None:
    pod.look_at(guarded=False)
    with pod.sockets.make("4", socket.SOCK_DGRAM) as server:
        server.bind((SERVER["4"], PORT))
        for source in (UNKNOWN_CLIENT, CLIENT, CLIENT):
            with pod.sockets.make("4", socket.SOCK_DGRAM) as client:
                client.bind((source["4"], 0))
                client.sendto(b"hello", (SERVER["4"], PORT))
            assert server.recv(64) == b"hello"
    assert pod.counts("4") == VerdictCounts(audit_allowed=2, audit_refused=1)


def test_without_audited_policies_the_program_leaves_the_pod(pod: AuditedPod) -> None:
    pod.look_at(guarded=False)
    audits = Pins(pod.pins).pod_audits
    assert len(list(audits.iterdir())) == 1
    pod.guards.look({})
    assert not list(audits.iterdir())
    with pod.sockets.listen("4"):
        assert pod.dial(UNKNOWN_CLIENT) == "connected"
    assert pod.counts("4") == VerdictCounts()


def test_a_guard_counts_what_it_decides(pod: AuditedPod) -> None:
    pod.set_grants(Grant(ACCOUNT, ANY_PORT))
    assert pod.look() == ATTACHED
    with pod.sockets.listen("4"):
        assert [pod.dial(client) for client in (CLIENT, UNKNOWN_CLIENT)] == ["connected", "ECONNREFUSED"]
    assert pod.counts("4") == VerdictCounts(allowed=1, refused=1)
