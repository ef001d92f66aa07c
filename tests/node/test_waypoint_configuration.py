"""Configuration while traffic runs: updates, removals, refusals, and an agent that comes back."""

from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort
from agent.ir.resources import ResourceName, ResourceType
from agent.model.routes import HTTPPathMatch, HTTPRouteMatch
from agent.waypoint.server import CANNOT_BIND
from support.waypoint.ads import WAYPOINT, AdsThread
from support.waypoint.client import exchange
from support.waypoint.fixtures import OTHER_CLIENT, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import V1, V2, any_path, prefix, rule, to

pytestmark = pytest.mark.node
BAD = HTTPRouteMatch(path=HTTPPathMatch("RegularExpression", "a("))


@pytest.fixture
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def publish(node: WaypointNode) -> None:
    node.publish()
    wait_for("everything is acknowledged", node.settled)


def test_a_route_change_touches_neither_listener_nor_connection(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    before = node.statistic("listener_manager.lds.update_success")
    with node.connection(port) as connection:
        assert exchange(connection).pod == "v1"
        node.add([rule(any_path(), to(V2))], name="app/one:80")
        publish(node)
        assert exchange(connection).pod == "v2"
    assert node.statistic("listener_manager.lds.update_success") == before


def test_endpoints_come_and_go(node):
    node.servers.pop("v1")
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    assert node.ask(port).status == 503
    node.servers["v1"] = [9002]
    node.add([rule(any_path(), to(V1))], name="app/one:80")
    publish(node)
    assert node.ask(port).pod == "v2"


def waited_in_vain(node: WaypointNode) -> list[str]:
    """Resources that Envoy gave up waiting for, after 15 s each."""
    lines = node.admin("/stats?filter=init_fetch_timeout").splitlines()
    return [line for line in lines if "init_fetch_timeout: " in line and not line.endswith(": 0")]


def test_a_changed_cluster_gets_its_endpoints_again(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    name = ResourceName(ResourceType.CLUSTER, V1.cluster)
    node.resources[name] = {**node.resources[name], "connect_timeout": "3s"}
    publish(node)
    wait_for("it is in use", lambda: not node.statistic("cluster_manager.warming_clusters"))
    assert node.ask(port).pod == "v1"
    assert waited_in_vain(node) == []


def test_a_cluster_that_changed_while_there_was_no_agent_gets_its_endpoints_again(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    node.ads.stop()
    name = ResourceName(ResourceType.CLUSTER, V1.cluster)
    node.resources[name] = {**node.resources[name], "connect_timeout": "3s"}
    node.ads = AdsThread(node.folder / "xds.sock")
    node.publish()
    wait_for("everything is acknowledged", node.settled)
    wait_for("it is in use", lambda: not node.statistic("cluster_manager.warming_clusters"))
    assert node.ask(port).pod == "v1"
    assert waited_in_vain(node) == []


def test_a_changed_listener_keeps_its_routes_and_its_port(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    name = ResourceName(ResourceType.LISTENER, "app/one:80")
    node.resources[name] = {**node.resources[name], "per_connection_buffer_limit_bytes": 65536}
    publish(node)
    wait_for("it is in use", lambda: not node.statistic("listener_manager.total_listeners_warming"))
    assert node.statistic("listener_manager.listener_modified") == 1
    assert node.ask(port).pod == "v1"
    assert waited_in_vain(node) == []


def test_what_is_removed_is_gone_and_the_rest_stays(node):
    one = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    two = node.serve(rule(any_path(), to(V2)), name="app/two:80")
    for name in [item for item in node.resources if item.name in ("app/one:80", V1.cluster)]:
        del node.resources[name]
    publish(node)
    wait_for("the listener is closed", lambda: not node.answers(WAYPOINT, one))
    wait_for("the cluster is gone", lambda: V1.cluster not in node.admin("/clusters"))
    assert node.ask(two).pod == "v2"


def test_a_bad_route_table_hurts_no_other(node):
    names = [node.add([rule(BAD if bad else any_path())], name=f"app/s:{80 + bad}") for bad in (False, True)]
    names.append(node.add([rule(any_path())], name="app/s:8080"))
    node.publish()
    server, bad = node.ads.server, ResourceName(ResourceType.ROUTE, "app/s:81")
    wait_for("the bad one is refused", lambda: bad in server.rejected)
    good = [ResourceName(ResourceType.ROUTE, names[0]), ResourceName(ResourceType.ROUTE, names[2])]
    wait_for("the good ones are acknowledged", lambda: server.acknowledged() >= set(good))
    assert set(server.rejected) == {bad}
    assert "missing )" in server.rejected[bad]
    for name in (names[0], names[2]):
        wait_for("the listener accepts", lambda port=node.ports[name]: node.answers(WAYPOINT, port))
        assert node.ask(node.ports[name]).status == 200


def test_a_bad_change_leaves_what_was(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    node.add([rule(BAD, to(V2))], name="app/one:80")
    node.publish()
    wait_for("it is refused", lambda: bool(node.ads.server.rejected))
    assert node.ask(port).pod == "v1"
    node.add([rule(any_path(), to(V2))], name="app/one:80")
    publish(node)
    assert node.ads.server.rejected == {}
    assert node.ask(port).pod == "v2"


def test_a_listener_whose_port_is_taken_hurts_no_other_and_comes_when_it_is_free(node):
    with node.own_socket() as taken:
        taken.bind((WAYPOINT, 20002))
        taken.listen()
        names = [node.add([rule(any_path())], name=f"app/s:{port}") for port in (8, 8080, 80)]
        node.ports |= dict(zip(names, (20001, 20002, 20003), strict=True))
        node.publish()
        bad = ResourceName(ResourceType.LISTENER, names[1])
        wait_for("it is refused", lambda: bad in node.ads.server.rejected)
        good = {ResourceName(ResourceType.LISTENER, names[0]), ResourceName(ResourceType.LISTENER, names[2])}
        wait_for("the others are acknowledged", lambda: node.ads.server.acknowledged() >= good)
        assert set(node.ads.server.rejected) == {bad}
        assert CANNOT_BIND in node.ads.server.rejected[bad]
        assert [node.ask(port).status for port in (20001, 20003)] == [200, 200]
    wait_for("it is tried again when the port is free", lambda: bad in node.ads.server.acknowledged())
    assert node.ads.server.rejected == {}
    wait_for("the listener accepts", lambda: node.answers(WAYPOINT, 20002))


@pytest.mark.parametrize("fault", [{"lb_policy": 7}, {"connect_timeout": "0s"}], ids=["refused", "not-valid"])
def test_a_bad_cluster_hurts_no_other(node, fault):
    node.add([rule(any_path())], name="app/one:80")
    bad = ResourceName(ResourceType.CLUSTER, BackendPort("app", "bad", 80).cluster)
    node.resources[bad] = {**node.resources[ResourceName(ResourceType.CLUSTER, V1.cluster)], "name": bad.name, **fault}
    node.publish()
    wait_for("it is refused", lambda: bad in node.ads.server.rejected)
    wait_for("the others are acknowledged", lambda: node.ads.server.acknowledged() >= set(node.resources) - {bad})
    assert set(node.ads.server.rejected) == {bad}
    assert "\n" not in node.ads.server.rejected[bad]


def test_what_cannot_be_encoded_is_named_and_hurts_no_other(node):
    bad = ResourceName(ResourceType.CLUSTER, V2.cluster)
    node.add([rule(any_path(), to(V1))], name="app/one:80")
    node.add([rule(any_path(), to(V2))], name="app/two:80")
    node.resources[bad] = {"name": bad.name, "no_such_field": 1}
    node.publish()
    others = set(node.resources) - {bad, ResourceName(ResourceType.ENDPOINT, bad.name)}
    wait_for("the others are acknowledged", lambda: node.ads.server.acknowledged() >= others)
    assert bad.name in node.ads.server.rejected[bad]
    assert "no_such_field" in node.ads.server.rejected[bad]


def test_envoy_keeps_serving_without_an_agent_and_is_told_nothing_twice(node):
    port = node.serve(rule(prefix("/x"), to(V1)), rule(any_path(), to(V2)), name="app/one:80")
    with node.connection(port) as connection:
        assert exchange(connection, "/x").pod == "v1"
        node.ads.stop()
        assert exchange(connection, "/x").pod == "v1"
        assert node.ask(port).pod == "v2"
        node.ads = AdsThread(node.folder / "xds.sock")
        wait_for("Envoy is back", lambda: node.ads.server.envoys)
        assert exchange(connection, "/x").pod == "v1"
        publish(node)
        assert exchange(connection, "/x").pod == "v1"
    node.allow_clients(OTHER_CLIENT)
    publish(node)
    assert node.ads.server.acks == 1, "one for the filter that changed, none for what did not"


def test_an_envoy_that_comes_back_is_told_everything(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    node.kill_envoy()
    wait_for("it is missed", lambda: not node.ads.server.envoys)
    node.start_envoy("blue")
    wait_for("everything is acknowledged", node.settled)
    wait_for("the listener accepts", lambda: node.answers(WAYPOINT, port))
    assert node.ask(port).pod == "v1"


def test_of_two_envoys_one_can_go(node):
    port = node.serve(rule(any_path(), to(V1)), name="app/one:80")
    node.start_envoy("green")
    wait_for("both have everything", lambda: node.admin("/listeners", "green").count("app/one:80") and node.settled())
    node.add([rule(any_path(), to(V2))], name="app/one:80")
    publish(node)
    node.kill_envoy()
    assert {node.ask(port).pod for _ in range(10)} == {"v2"}
    node.add([rule(any_path(), to(V1))], name="app/one:80")
    publish(node)
    assert {node.ask(port).pod for _ in range(10)} == {"v1"}


def test_the_sockets_are_the_agent_s_alone(node):
    assert (node.folder / "xds.sock").stat().st_mode & 0o777 == 0o600
    assert (node.folder / "blue-admin.sock").stat().st_mode & 0o777 == 0o600
