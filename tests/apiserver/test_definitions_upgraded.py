"""The Gateway API's definitions of one release in the place of another's, with objects stored by the other."""

from typing import Any

from apiserver_gateway import bundle_version, install
from apiserver_objects import GATEWAY, Follower, http_route
from apiserver_process import Cluster
from test_source import following

from agent.model.change import Delete
from agent.model.meta import Key
from agent.model.routes import HTTPRoute, SessionPersistence

OLD: dict[str, Any] = {"sessionName": "seat", "cookieConfig": {"lifetimeType": "Session"}, "absoluteTimeout": "1h"}
NEW: dict[str, Any] = {"type": "Header", "header": {"name": "x-seat"}}


def create(cluster: Cluster, name: str, session: dict[str, Any]) -> None:
    """An HTTPRoute whose one rule has sessions."""
    route = http_route(name)
    route["spec"]["rules"][0]["sessionPersistence"] = session
    cluster.request("POST", f"{GATEWAY}/namespaces/default/httproutes", route)


def session(follower: Follower, name: str) -> SessionPersistence:
    """What is known of the Route's sessions."""
    route = follower.values[Key("HTTPRoute", "default", name)]
    assert isinstance(route, HTTPRoute)
    found = route.spec.rules[0].session_persistence
    assert found is not None
    return found


async def test_an_upgrade_and_a_downgrade_show_every_agent_what_the_server_shows(make_cluster) -> None:
    """The server hides fields that a schema does not know, and shows them again under one that does."""
    cluster = make_cluster()
    install(cluster, "experimental", version="1.6")
    create(cluster, "old", OLD)
    create(cluster, "plain", {})
    async with following(cluster.kubeconfig()) as running:
        before = session(running, "old")
        assert (before.name, before.path) == ("seat", None)
        said = len(running.said)

        install(cluster, "experimental", version="1.7")
        await running.until(lambda: running.source.bundles == [("experimental", bundle_version("1.7"))])
        await running.until(lambda: session(running, "old").name is None)
        assert session(running, "old").absolute_timeout == "1h"
        create(cluster, "new", NEW)
        await running.until(lambda: "new" in running.names("HTTPRoute"))
        assert session(running, "new").name == "x-seat"
        async with following(cluster.kubeconfig()) as started:
            assert started.values == running.values

        install(cluster, "experimental", version="1.6")
        await running.until(lambda: session(running, "old") == before)
        await running.until(lambda: session(running, "new").name is None)
        assert session(running, "new").type == "Header"
        async with following(cluster.kubeconfig()) as started:
            assert started.values == running.values
        assert not [change for change in running.said[said:] if isinstance(change, Delete)]
