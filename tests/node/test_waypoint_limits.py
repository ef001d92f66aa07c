"""What Envoy refuses before it runs out of something."""

import http.client
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.waypoint.process import OTHER_DESCRIPTORS, Limits
from support.waypoint.fixtures import WAYPOINT, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import V1, any_path, rule, to

pytestmark = pytest.mark.node

CONNECTIONS = 5
REQUEST = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    limits = Limits(workers=1, descriptors=2 * (OTHER_DESCRIPTORS + 2 * CONNECTIONS), heap=2**30)
    assert limits.connections == CONNECTIONS
    with waypoint_node(limits) as made:
        yield made


def test_connections_beyond_the_limit_are_closed_and_the_others_served(node):
    port = node.serve(rule(any_path(), to(V1)))
    wait_for("nobody is connected", lambda: node.statistic("server.total_connections") >= 0)
    held = [node.dial(WAYPOINT, port) for _ in range(CONNECTIONS)]
    try:
        for connection in held:
            connection.sendall(REQUEST)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with node.dial(WAYPOINT, port) as late:
            late.settimeout(5)
            assert late.recv(1) == b"", "closed at once"
        held[0].sendall(REQUEST)
        assert held[0].recv(65536).startswith(b"HTTP/1.1 200")
        assert "live" in node.admin("/server_info").lower(), "the admin interface is not limited"
        used = len(os.listdir(f"/proc/{node.envoy.pid}/fd"))
        assert used <= len(node.ports) * node.limits.workers + 2 * CONNECTIONS + OTHER_DESCRIPTORS // 2
    finally:
        for connection in held:
            connection.close()

    def is_served() -> bool:
        with suppress(ConnectionError, http.client.HTTPException):
            return node.ask(port).status == 200
        return False

    wait_for("there is room again", is_served)


@pytest.mark.parametrize(("addresses", "listeners"), [(1, 5000), (2, 2500)])
def test_a_node_s_descriptors_are_shared_by_listeners_and_connections(addresses: int, listeners: int):
    limits = Limits(workers=2, descriptors=20_000, heap=2**30)
    assert (limits.listeners(addresses), limits.connections) == (listeners, 4900)
    assert 2 * addresses * listeners + 2 * limits.connections + OTHER_DESCRIPTORS <= limits.descriptors
    tiny = Limits(workers=16, descriptors=64, heap=2**30)
    assert (tiny.listeners(addresses), tiny.connections) == (2 // addresses, 1)
