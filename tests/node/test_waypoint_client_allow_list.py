"""Who may connect to a listener: source addresses by name, nobody by default, and no listener touched by a change."""

from collections.abc import Iterator

import pytest

from agent.ir.resources import ResourceName, ResourceType
from support.waypoint.ads import WAYPOINT
from support.waypoint.client import exchange
from support.waypoint.fixtures import CLIENT, OTHER_CLIENT, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import any_path, rule

pytestmark = pytest.mark.node
REFUSED = (ConnectionError, OSError)


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        # Envoy asks for the list of a consumer, or of everybody, only when a listener refers to it.
        made.serve(rule(any_path()))
        yield made


def is_served(node: WaypointNode, port: int, source: str) -> bool:
    """Whether a client gets an answer rather than a closed connection."""
    try:
        return node.ask(port, source=source).status == 200
    except REFUSED:
        return False


def readmit(node: WaypointNode, *addresses: str, consumer: str = "") -> None:
    node.allow_clients(*addresses, consumer=consumer)
    node.publish()
    wait_for("the filter is acknowledged", node.settled)


def test_only_listed_addresses_are_served(node):
    port = node.serve(rule(any_path()))
    assert is_served(node, port, CLIENT)
    assert not is_served(node, port, OTHER_CLIENT)


def test_a_consumer_s_listener_has_a_list_of_its_own(node):
    node.allow_clients(OTHER_CLIENT, consumer="other")
    port = node.serve(rule(any_path()), consumer="other")
    assert is_served(node, port, OTHER_CLIENT)
    assert not is_served(node, port, CLIENT)


def test_an_empty_list_admits_nobody(node):
    node.allow_clients(consumer="empty")
    port = node.serve(rule(any_path()), consumer="empty")
    assert not is_served(node, port, CLIENT)
    readmit(node, CLIENT, consumer="empty")
    assert is_served(node, port, CLIENT)


def test_a_listener_waits_for_its_list(node):
    name = node.add([rule(any_path())], consumer="late")
    node.publish()
    wait_for(
        "its routes are acknowledged",
        lambda: ResourceName(ResourceType.CLUSTER, "app/v1:80/http") in node.ads.server.acknowledged(),
    )
    assert not node.answers(WAYPOINT, node.ports[name])
    readmit(node, CLIENT, consumer="late")
    wait_for("the listener accepts", lambda: node.answers(WAYPOINT, node.ports[name]))
    assert is_served(node, node.ports[name], CLIENT)


def test_a_change_cuts_no_connection_and_decides_about_new_ones(node):
    port = node.serve(rule(any_path()))
    with node.connection(port) as connection:
        assert exchange(connection).status == 200
        readmit(node, OTHER_CLIENT)
        assert exchange(connection).status == 200
    assert not is_served(node, port, CLIENT)
    assert is_served(node, port, OTHER_CLIENT)
    readmit(node, CLIENT)
    assert [is_served(node, port, source) for source in (CLIENT, OTHER_CLIENT)] == [True, False]


def test_many_changes_touch_no_listener(node):
    port = node.serve(rule(any_path()))
    before = node.statistic("listener_manager.listener_modified"), node.statistic("listener_manager.lds.update_success")
    with node.connection(port) as connection:
        for number in range(1, 21):
            readmit(node, CLIENT, *(f"10.0.0.{last}" for last in range(1, number)))
            assert exchange(connection).status == 200
    after = node.statistic("listener_manager.listener_modified"), node.statistic("listener_manager.lds.update_success")
    assert after == before


def test_addresses_of_both_families_are_taken(node):
    readmit(node, CLIENT, "10.244.0.7", "fd00::7")
    assert is_served(node, node.serve(rule(any_path())), CLIENT)
