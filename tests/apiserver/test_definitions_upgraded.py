"""The Gateway API's definitions of one release in the place of another's, with objects stored by the other."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.kube.client import MERGE_PATCH
from agent.model.change import Delete
from agent.model.meta import Key
from agent.model.routes import HTTPRoute, SessionPersistence
from support.apiserver.gateway import bundle_version, install
from support.apiserver.objects import GATEWAY, Follower, http_route
from support.apiserver.process import Cluster
from support.apiserver.source import following

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


@contextmanager
def written_all_the_time(cluster: Cluster, name: str) -> Iterator[None]:
    """Somebody changes a Route's labels as fast as the server answers, but for a pause."""
    over = threading.Event()

    def write() -> None:
        for number in itertools.count():
            label = {"metadata": {"labels": {"number": str(number)}}}
            cluster.request("PATCH", f"{GATEWAY}/namespaces/default/httproutes/{name}", label, MERGE_PATCH)
            if over.wait(0.005):
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


async def test_an_upgrade_and_a_downgrade_show_every_agent_what_the_server_shows(make_cluster) -> None:
    """The server hides fields that a schema does not know, and shows them again under one that does.

    What is written meanwhile it has forgotten.
    """
    cluster = make_cluster()
    install(cluster, "experimental", version="1.6")
    create(cluster, "old", OLD)
    create(cluster, "written", OLD)
    async with following(cluster.kubeconfig()) as running:
        before = session(running, "old")
        assert (before.name, before.path) == ("seat", None)
        seen = len(running.changes)

        install(cluster, "experimental", version="1.7")
        await running.until(lambda: running.source.bundles == [("experimental", bundle_version("1.7"))])
        await running.until(lambda: session(running, "old").name is None)
        assert session(running, "old").absolute_timeout == "1h"
        label = {"metadata": {"labels": {"written": "under-v1.7"}}}
        cluster.request("PATCH", f"{GATEWAY}/namespaces/default/httproutes/written", label, MERGE_PATCH)
        create(cluster, "new", NEW)
        await running.until(lambda: "new" in running.names("HTTPRoute"))
        assert session(running, "new").name == "x-seat"
        async with following(cluster.kubeconfig()) as started:
            assert started.values == running.values

        install(cluster, "experimental", version="1.6")
        await running.until(lambda: session(running, "old") == before)
        await running.until(lambda: session(running, "new").name is None)
        assert session(running, "new").type == "Header"
        assert session(running, "written").name is None
        async with following(cluster.kubeconfig()) as started:
            assert started.values == running.values
        assert not [change for change in running.changes[seen:] if isinstance(change, Delete)]


async def test_a_watch_that_goes_on_over_an_upgrade_shows_the_new_schema_too(make_cluster) -> None:
    """Where objects of the kind are written meanwhile, the server's watch says nothing of the others."""
    cluster = make_cluster()
    install(cluster, "experimental", version="1.6")
    create(cluster, "old", OLD)
    create(cluster, "busy", {})
    async with following(cluster.kubeconfig()) as running:
        with written_all_the_time(cluster, "busy"):
            for _ in range(3):
                for version, name in (("1.7", None), ("1.6", "seat")):
                    await asyncio.to_thread(install, cluster, "experimental", "httproutes", version)
                    await running.until(lambda name=name: session(running, "old").name == name)
