"""Policies of protected pods in the kernel, by real sockets in a real network namespace, and against the oracle."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, DENY_ALL, Grant, GrantKey, PeerRow, admits
from agent.ir.tables import Reason, address_bytes
from agent.kernel import libbpf
from agent.kernel.authorization_rows import encode_peer, encode_server
from agent.kernel.bpffs import opened
from agent.kernel.network_links import ATTACHED, NetworkLinks
from agent.kernel.programs import AUTHORIZE, GUARD, Pins
from support.datapath.node import Node
from support.datapath.protected_pod import CLIENT, PORT, SERVER, UNKNOWN_CLIENT, ProtectedPod

pytestmark = pytest.mark.bpf

ACCOUNT, NAMESPACE, OTHER = 11, 12, 13
KNOWN = PeerRow(ACCOUNT, NAMESPACE)
FAMILIES = ("4", "6")
LOOPBACK = {"4": "127.0.0.1", "6": "::1"}
SETS = 300
CLIENT_ADDRESSES = CLIENT, UNKNOWN_CLIENT
PEERS = None, KNOWN, PeerRow(OTHER, NAMESPACE), PeerRow(OTHER, OTHER + 1)


@pytest.fixture
def pod(node: Node) -> Iterator[ProtectedPod]:
    """A protected pod that admits nobody, whose guard is attached."""
    made = ProtectedPod(node.pins, node.kubepods, node.version)
    try:
        made.know((CLIENT, KNOWN))
        made.set_grants()
        assert made.look() == ATTACHED
        yield made
    finally:
        made.close()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def server(pod: ProtectedPod, family: str) -> Iterator[socket.socket]:
    """A server at every address of the pod, of one family."""
    with pod.sockets.listen(family) as listening:
        yield listening


def accepted(server: socket.socket) -> bool:
    """Whether the server has a connection."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_a_client_that_no_grant_admits_is_refused_before_the_server_sees_it(
    pod: ProtectedPod, server: socket.socket, family: str
) -> None:
    before = pod.refusals()
    assert [pod.dial(client, family) for client in (CLIENT, UNKNOWN_CLIENT, CLIENT)] == ["ECONNREFUSED"] * 3
    assert (pod.refusals() - before, accepted(server)) == (3, False)


@pytest.mark.parametrize(
    ("grant", "client", "foreign"),
    [
        (Grant(ACCOUNT, ANY_PORT), "connected", "ECONNREFUSED"),
        (Grant(ACCOUNT, PORT), "connected", "ECONNREFUSED"),
        (Grant(ACCOUNT, PORT + 1), "ECONNREFUSED", "ECONNREFUSED"),
        (Grant(NAMESPACE, ANY_PORT), "connected", "ECONNREFUSED"),
        (Grant(NAMESPACE, PORT), "connected", "ECONNREFUSED"),
        (Grant(OTHER, ANY_PORT), "ECONNREFUSED", "ECONNREFUSED"),
        (Grant(ANY_CLIENT, ANY_PORT), "connected", "connected"),
        (Grant(ANY_CLIENT, PORT), "connected", "connected"),
        (Grant(ANY_CLIENT, PORT + 1), "ECONNREFUSED", "ECONNREFUSED"),
    ],
    ids=str,
)
def test_a_grant_admits_by_identity_and_port(
    pod: ProtectedPod, server: socket.socket, family: str, grant: Grant, client: str, foreign: str
) -> None:
    pod.set_grants(grant)
    assert (pod.dial(CLIENT, family), pod.dial(UNKNOWN_CLIENT, family)) == (client, foreign)
    assert accepted(server) == (client == "connected")


def test_the_port_is_the_server_s_in_the_order_of_the_host(pod: ProtectedPod, family: str) -> None:
    swapped = socket.htons(PORT)
    pod.set_grants(Grant(ACCOUNT, PORT))
    with pod.sockets.listen(family), pod.sockets.listen(family, port=swapped):
        assert (pod.dial(CLIENT, family), pod.dial(CLIENT, family, swapped)) == ("connected", "ECONNREFUSED")


def test_loopback_and_the_pod_itself_are_admitted(pod: ProtectedPod, server: socket.socket, family: str) -> None:
    before = pod.refusals()
    for source, destination in ((LOOPBACK, LOOPBACK), (SERVER, LOOPBACK), (SERVER, SERVER)):
        assert pod.sockets.dial(source[family], destination[family]) == "connected"
        assert accepted(server)
    assert pod.refusals() == before


def test_all_of_127_8_is_loopback_and_nothing_else(pod: ProtectedPod) -> None:
    with pod.sockets.listen("4"):
        assert pod.sockets.dial("127.0.0.1", "127.255.255.254") == "connected"
        assert pod.sockets.dial("127.0.0.1", SERVER["4"]) == "ECONNREFUSED", "a source on the loopback"


def test_an_address_of_the_pod_that_the_agent_does_not_know_refuses(
    pod: ProtectedPod, server: socket.socket, family: str
) -> None:
    """Also one whose policies would admit everybody."""
    pod.set_grants(Grant(ANY_CLIENT, ANY_PORT))
    before = pod.refusals()
    assert pod.sockets.dial(CLIENT[family], UNKNOWN_CLIENT[family]) == "ECONNREFUSED"
    assert (pod.refusals() - before, accepted(server)) == (1, False)
    pod.kernel.servers.delete([address_bytes(SERVER[family])])
    assert pod.dial(CLIENT, family) == "ECONNREFUSED"


def test_a_listener_of_both_families_is_judged_by_the_ipv4_addresses(pod: ProtectedPod) -> None:
    with pod.sockets.make("6") as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", PORT))
        server.listen()
        server.setblocking(False)
        assert (pod.dial(CLIENT), accepted(server)) == ("ECONNREFUSED", False)
        pod.set_grants(Grant(ACCOUNT, PORT))
        assert (pod.dial(CLIENT), accepted(server)) == ("connected", True)
        assert pod.sockets.dial(f"::ffff:{CLIENT['4']}", f"::ffff:{SERVER['4']}") == "connected"
        assert pod.sockets.dial(f"::ffff:{UNKNOWN_CLIENT['4']}", f"::ffff:{SERVER['4']}") == "ECONNREFUSED"


def test_datagrams_are_judged_at_sockets_that_are_not_connected(pod: ProtectedPod, family: str) -> None:
    pod.set_grants(Grant(ACCOUNT, PORT))
    before = pod.refusals()
    with pod.sockets.make(family, socket.SOCK_DGRAM) as server:
        server.bind((SERVER[family], PORT))
        for source in (UNKNOWN_CLIENT, CLIENT):
            with pod.sockets.make(family, socket.SOCK_DGRAM) as client:
                client.bind((source[family], 0))
                client.sendto(source[family].encode(), (SERVER[family], PORT))
        assert server.recv(64) == CLIENT[family].encode()
        assert pod.refusals() > before
        with pod.sockets.make(family, socket.SOCK_DGRAM) as chosen:
            chosen.bind((UNKNOWN_CLIENT[family], 0))
            chosen.connect((SERVER[family], PORT))
            server.connect(chosen.getsockname())
            chosen.send(b"the server chose this peer")
            assert server.recv(64) == b"the server chose this peer"


def test_datagrams_to_a_group_are_not_judged(pod: ProtectedPod) -> None:
    """The kernel runs no sk_lookup program for them."""
    group, interface = socket.inet_aton("239.9.9.9"), socket.inet_aton(CLIENT["4"])
    with pod.sockets.make("4", socket.SOCK_DGRAM) as server, pod.sockets.make("4", socket.SOCK_DGRAM) as client:
        server.bind(("", PORT))
        server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + interface)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        client.bind((CLIENT["4"], 0))
        client.sendto(b"to all", ("239.9.9.9", PORT))
        assert server.recv(64) == b"to all"


def test_established_connections_outlive_their_grant(pod: ProtectedPod, server: socket.socket, family: str) -> None:
    pod.set_grants(Grant(ACCOUNT, ANY_PORT))
    with pod.sockets.make(family) as client:
        client.bind((CLIENT[family], 0))
        client.connect((SERVER[family], PORT))
        connection, _ = server.accept()
        assert pod.set_grants() == DENY_ALL
        client.sendall(b"still here")
        connection.settimeout(10)
        assert connection.recv(64) == b"still here"
        connection.close()
    assert pod.dial(CLIENT, family) == "ECONNREFUSED"


def test_no_connection_is_refused_while_sets_that_admit_it_replace_each_other(pod: ProtectedPod) -> None:
    """The grants of the former set are deleted at once."""
    both = (Grant(ACCOUNT, PORT), Grant(OTHER, 1)), (Grant(ACCOUNT, ANY_PORT), Grant(OTHER, 2))
    pod.set_grants(*both[0])
    ended, found = threading.Event(), dict[str, int]()

    def dial() -> None:
        with pod.sockets.listen("4") as server:
            for _ in range(3000):
                answer = pod.dial(CLIENT)
                found[answer] = found.get(answer, 0) + 1
                accepted(server)
        ended.set()

    thread = threading.Thread(target=dial)
    thread.start()
    changes = 0
    while not ended.is_set():
        changes += 1
        pod.set_grants(*both[changes % 2])
    thread.join()
    assert found == {"connected": 3000}, f"{changes} changes"


def test_a_row_that_is_not_of_its_address_is_stale(pod: ProtectedPod) -> None:
    """As while the kernel recycles an element: the words of the row of another address, whole or in part."""
    found = pod.set_grants(Grant(ACCOUNT, PORT))
    with pod.sockets.listen("4"), opened(Pins(pod.pins).map_path("weft_servers")) as servers:
        own, other = (encode_server(address_bytes(at), found) for at in (SERVER["4"], UNKNOWN_CLIENT["4"]))
        mixed = encode_server(address_bytes(SERVER["4"]), DENY_ALL)[:8] + own[8:]
        for row in (other, mixed):
            before = pod.kernel.counters()
            libbpf.update(servers, address_bytes(SERVER["4"]), row)
            assert pod.dial(CLIENT) == "ECONNREFUSED"
            after = pod.kernel.counters()
            assert after[Reason.STALE_ROW] > before[Reason.STALE_ROW]
            assert after[Reason.POLICY_REFUSED] - before[Reason.POLICY_REFUSED] == 1
        libbpf.update(servers, address_bytes(SERVER["4"]), own)
        assert pod.dial(CLIENT) == "connected"
        with opened(Pins(pod.pins).map_path("weft_peers")) as peers:
            foreign = encode_peer(address_bytes(UNKNOWN_CLIENT["4"]), KNOWN)
            libbpf.update(peers, address_bytes(CLIENT["4"]), foreign)
        assert pod.dial(CLIENT) == "ECONNREFUSED"
        pod.set_grants(Grant(ANY_CLIENT, PORT))
        assert pod.dial(CLIENT) == "connected", "no identity is needed"


@pytest.mark.parametrize("order", [(AUTHORIZE, GUARD), (GUARD, AUTHORIZE)], ids=["before", "after"])
def test_each_of_several_programs_can_refuse(pod: ProtectedPod, order: tuple[object, object]) -> None:
    """A pod can have guards of two versions, or other sk_lookup programs. The guard of waypoints has no clients."""
    pod.set_grants(Grant(ACCOUNT, PORT))
    aside = pod.pins / "aside"
    namespace = pod.namespace()
    for link in pod.links if order[0] is GUARD else ():
        pod.guards.look({})
        assert not link.exists()
    NetworkLinks(aside, Pins(pod.pins).programs / pod.version / GUARD.name).attach(namespace, "1")
    try:
        assert pod.look() == ATTACHED
        with pod.sockets.listen("4"):
            assert pod.dial(CLIENT) == "ECONNREFUSED"
            pod.kernel.clients.upsert({address_bytes(CLIENT["4"]): True, address_bytes(UNKNOWN_CLIENT["4"]): True})
            assert (pod.dial(CLIENT), pod.dial(UNKNOWN_CLIENT)) == ("connected", "ECONNREFUSED")
    finally:
        pod.kernel.clients.delete(pod.kernel.clients.load())
        NetworkLinks(aside, aside).detach("1")
        aside.rmdir()


def test_the_kernel_admits_what_the_oracle_admits(pod: ProtectedPod) -> None:
    choose, seen = random.Random(5), {True: 0, False: 0}
    identities = (ANY_CLIENT, ACCOUNT, NAMESPACE, OTHER, OTHER + 1)
    ports = (ANY_PORT, PORT, PORT + 1, PORT + 2)
    everything = [Grant(identity, port) for identity in identities for port in ports]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(pod.sockets.listen(family, port=port))
            for family in FAMILIES
            for port in (PORT, PORT + 1)
        ]
        for _ in range(SETS):
            grants = choose.sample(everything, choose.choice((0, 1, 1, 2, 3, 5)))
            rows = [choose.choice(PEERS) for _ in CLIENT_ADDRESSES]
            pod.set_grants(*grants)
            pod.know(*((client, row) for client, row in zip(CLIENT_ADDRESSES, rows, strict=True) if row))
            family, port = choose.choice(FAMILIES), choose.choice((PORT, PORT + 1))
            for client, row in zip(CLIENT_ADDRESSES, rows, strict=True):
                expected = admits(grants, row, port)
                seen[expected] += 1
                answer = pod.dial(client, family, port)
                assert answer == ("connected" if expected else "ECONNREFUSED"), (grants, row, port, family)
            for server in servers:
                while accepted(server):
                    pass
    assert min(seen.values()) > SETS // 8, seen


def test_a_foreign_set_admits_nobody(pod: ProtectedPod, server: socket.socket, family: str) -> None:
    found = pod.set_grants(Grant(OTHER, PORT))
    pod.kernel.grants.upsert({GrantKey(found ^ 1, ANY_CLIENT, ANY_PORT): True})
    assert pod.dial(CLIENT, family) == "ECONNREFUSED"
    assert not accepted(server)
