"""Who the client of a TLS connection is, told to servers by the PROXY protocol, where their Service asks for it."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from agent.ir.http import BackendPort, TLSRule, WeightedBackend
from agent.ir.identity import PROXY_TLV
from agent.waypoint.xds.render import SPIFFE_IDS
from agent.waypoint.xds.spiffe_ids import client_spiffe_ids
from support.node.programs import PROGRAMS
from support.waypoint.ads import WAYPOINT
from support.waypoint.fixtures import WaypointNode, wait_for
from support.waypoint.known_clients import ACCOUNTS, CLIENTS, WITHOUT_IDENTITY, node_with_known_clients
from support.waypoint.listeners import CLIENT, SERVERS
from support.waypoint.rules import to
from support.waypoint.tls import TLSNode, client_hello

pytestmark = pytest.mark.node

PORT = 9443
PROXIED = BackendPort("app", "proxied", 443, "tcp", proxy_trust_domain="example.org")
PLAIN = BackendPort("app", "plain", 443, "tcp")
EXPECTED = {
    CLIENTS[0]: "spiffe://example.org/ns/shop/sa/web",
    CLIENTS[1]: "spiffe://example.org/ns/cart/sa/default",
    WITHOUT_IDENTITY: "",
}


@pytest.fixture(scope="module")
def tls() -> Iterator[TLSNode]:
    with node_with_known_clients() as node:
        node.spawn(sys.executable, str(PROGRAMS / "proxy_protocol_server.py"), str(PORT), pod="proxied")
        wait_for("the server listens", partial(node.answers, SERVERS, PORT))
        node.servers |= {"proxied": [PORT], "plain": [PORT]}
        node.resources[SPIFFE_IDS] = client_spiffe_ids(ACCOUNTS, "example.org")
        yield TLSNode.of(node)


def seen(node: WaypointNode, port: int, source: str = CLIENT, sent: bytes = b"") -> dict[str, Any] | None:
    """What a server sees of a client that sends these bytes; None where it sees nothing."""
    answer = b""
    with node.dial(WAYPOINT, port, source) as connection, suppress(ConnectionResetError):
        connection.sendall(sent or client_hello("a.example.com"))
        while more := connection.recv(65536):
            answer += more
        return {**json.loads(answer), "own": list(connection.getsockname())} if answer else None
    return None


def rule(*backends: WeightedBackend) -> TLSRule:
    return TLSRule("app/any", (), backends)


def test_servers_get_the_address_and_the_service_account_of_each_client(tls: TLSNode) -> None:
    port = tls.serve([rule(*to(PROXIED))])
    for source in (*CLIENTS, *CLIENTS):
        found = seen(tls.node, port, source)
        assert found is not None
        assert found["source"] == found["own"]
        assert found["source"][0] == source
        assert found["destination"] == [WAYPOINT, port]
        assert found["tlvs"] == [[PROXY_TLV, EXPECTED[source]]]


def test_what_a_client_sends_comes_after_the_header(tls: TLSNode) -> None:
    port = tls.serve([rule(*to(PROXIED))])
    hello = client_hello("a.example.com")
    found = seen(tls.node, port, sent=hello)
    assert found is not None
    assert found["first"] == hello.hex()


def test_a_header_of_a_client_reaches_no_server(tls: TLSNode) -> None:
    forged = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
    for backend in (PROXIED, PLAIN):
        assert seen(tls.node, tls.serve([rule(*to(backend))]), sent=forged + client_hello("a.example.com")) is None


def test_servers_of_a_service_that_does_not_ask_for_it_get_no_header(tls: TLSNode) -> None:
    """Also beside one that does, on the same listener."""
    names = (("proxied.example.com",), to(PROXIED)), (("plain.example.com",), to(PLAIN))
    port = tls.serve([TLSRule(f"app/{name[0]}", name, backends) for name, backends in names])
    hello = client_hello("plain.example.com")
    found = seen(tls.node, port, sent=hello)
    assert found is not None
    assert (found["tlvs"], found["first"]) == (None, hello.hex())
    found = seen(tls.node, port, sent=client_hello("proxied.example.com"))
    assert found is not None
    assert found["tlvs"] == [[PROXY_TLV, EXPECTED[CLIENT]]]
    shares = tls.serve([rule(*to(PROXIED, PLAIN))])
    kinds = set[bool]()
    wait_for("both are used", lambda: kinds.add((seen(tls.node, shares) or {})["tlvs"] is None) or len(kinds) == 2)


def test_a_client_that_is_not_allowed_reaches_no_server(tls: TLSNode) -> None:
    port = tls.serve([rule(*to(PROXIED))])
    assert seen(tls.node, port, "127.0.1.9") is None


def test_a_new_client_is_told_without_a_change_of_listeners(tls: TLSNode) -> None:
    node, port = tls.node, tls.serve([rule(*to(PROXIED))])
    accounts = {**ACCOUNTS, WITHOUT_IDENTITY: ACCOUNTS[CLIENT]}
    node.resources[SPIFFE_IDS] = client_spiffe_ids(accounts, "example.org")
    node.publish()
    same = [[PROXY_TLV, EXPECTED[CLIENT]]]
    wait_for("it is told", lambda: (seen(node, port, WITHOUT_IDENTITY) or {})["tlvs"] == same)
    node.resources[SPIFFE_IDS] = client_spiffe_ids(ACCOUNTS, "example.org")
    node.publish()
    wait_for("it is not told", lambda: (seen(node, port, WITHOUT_IDENTITY) or {})["tlvs"] == [[PROXY_TLV, ""]])


def test_a_service_may_begin_and_end_to_ask_for_it_at_any_time(tls: TLSNode) -> None:
    silent = BackendPort(PROXIED.namespace, PROXIED.service, PROXIED.port, "tcp")
    for backend in (silent, PROXIED, silent):
        port = tls.serve([rule(*to(backend))], name="app/turning:443")
        expected = backend is PROXIED
        wait_for("it is so", lambda: ((seen(tls.node, port) or {})["tlvs"] is not None) == expected)  # noqa: B023
    tls.node.add_clusters([PROXIED])
    tls.node.publish()
