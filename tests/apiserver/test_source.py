"""The Kubernetes API as a source, against a real API server."""

import asyncio
import urllib.error
from pathlib import Path

import pytest

from agent.kube import kubernetes_source
from agent.kube.client import MERGE_PATCH as MERGE
from agent.kube.client import ApiServer
from agent.kube.collection import node_collections
from agent.kube.kubernetes_source import KubernetesSource
from agent.model.change import Delete, Synced
from agent.model.core import Namespace, Service
from agent.model.meta import Key
from support.apiserver.gateway import DEFINITIONS, bundle_version, install, install_policies, loosen
from support.apiserver.objects import GATEWAY, Follower, http_route, namespace, pod, service
from support.apiserver.process import Cluster
from support.apiserver.source import following


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a server that comes back is found soon."""
    monkeypatch.setattr("agent.backoff.MOST_SECONDS", 1.0)


async def test_everything_that_is_there_and_what_changes(cluster: Cluster):
    cluster.request("POST", "/api/v1/namespaces", namespace("follow", **{"weft.dev/mode": "l4"}))
    cluster.request("POST", "/api/v1/namespaces/follow/services", service("web"))
    cluster.request("POST", f"{GATEWAY}/namespaces/follow/httproutes", http_route("web"))
    async with following(cluster.kubeconfig()) as follower:
        # `Synced` was the last word about what there was.
        assert isinstance(follower.changes[-1], Synced)
        found = follower.values[Key("Service", "follow", "web")]
        assert isinstance(found, Service)
        assert found.cluster_ips[0].startswith("10.96.")
        assert follower.names("HTTPRoute", "follow") == ["web"]
        cluster.request("DELETE", f"{GATEWAY}/namespaces/follow/httproutes/web")
        cluster.request("POST", f"{GATEWAY}/namespaces/follow/httproutes", http_route("other"))
        await follower.until(lambda: follower.names("HTTPRoute", "follow") == ["other"])
        change = {"metadata": {"labels": {"weft.dev/mode": "l7"}}}
        cluster.request("PATCH", "/api/v1/namespaces/follow", change, MERGE)
        await follower.until(lambda: mode(follower, "follow") == "l7")
        report = follower.source.status()
        assert (report["stale"], report["missing"]) == ("", [])
        assert report["gatewayApi"] == [{"channel": "standard", "version": bundle_version()}]
        assert report["collections"]["HTTPRoute"]["state"] == "watching"


def mode(follower: Follower, name: str) -> str:
    found = follower.values[Key("Namespace", "", name)]
    assert isinstance(found, Namespace)
    return found.metadata.labels.get("weft.dev/mode", "")


async def test_pods_are_those_of_the_node(cluster: Cluster):
    cluster.request("POST", "/api/v1/namespaces", namespace("pods"))
    for name, node in (("mine", "n1"), ("theirs", "n2")):
        cluster.request("POST", "/api/v1/namespaces/pods/pods", pod(name, node))
    async with following(cluster.kubeconfig()) as follower:
        assert follower.names("Pod", "pods") == ["mine"]
        cluster.request("POST", "/api/v1/namespaces/pods/pods", pod("later", "n1"))
        cluster.request("DELETE", "/api/v1/namespaces/pods/pods/mine?gracePeriodSeconds=0")
        await follower.until(lambda: follower.names("Pod", "pods") == ["later"])


async def test_an_endpoint_slice_without_endpoints_is_none_the_less_one(cluster: Cluster):
    cluster.request("POST", "/api/v1/namespaces", namespace("slices"))
    body = {"metadata": {"name": "web"}, "addressType": "IPv4", "endpoints": [], "ports": []}
    made = cluster.request("POST", "/apis/discovery.k8s.io/v1/namespaces/slices/endpointslices", body)
    assert made["endpoints"] in (None, [])
    async with following(cluster.kubeconfig()) as follower:
        assert (follower.names("EndpointSlice", "slices"), follower.problems) == (["web"], {})


async def test_lists_of_more_than_a_page(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.kube.reflector.PAGE", 3)
    cluster.request("POST", "/api/v1/namespaces", namespace("paged"))
    names = [f"s{number}" for number in range(10)]
    for name in names:
        cluster.request("POST", "/api/v1/namespaces/paged/services", service(name))
    async with following(cluster.kubeconfig()) as follower:
        assert follower.names("Service", "paged") == names


async def test_watches_that_end_are_begun_again_where_they_were(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.kube.kubernetes_source.WATCH_SECONDS", 1)
    cluster.request("POST", "/api/v1/namespaces", namespace("short"))
    async with following(cluster.kubeconfig()) as follower:
        for number in range(4):
            cluster.request("POST", "/api/v1/namespaces/short/services", service(f"s{number}"))
            await asyncio.sleep(0.7)
        await follower.until(lambda: len(follower.names("Service", "short")) == 4)
        assert follower.source.stale == ""


async def test_definitions_that_are_not_there_are_waited_for(make_cluster):
    cluster = make_cluster()
    async with following(cluster.kubeconfig()) as follower:
        assert set(follower.source.missing) == {
            "HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute", "ReferenceGrant", "AuthorizationPolicy",
            "MeshParameters", "WeftNode",
        }  # fmt: skip
        assert follower.source.bundles == []
        install(cluster, only="httproutes")
        await follower.until(lambda: "HTTPRoute" not in follower.source.missing)
        assert "TCPRoute" in follower.source.missing
        cluster.request("POST", f"{GATEWAY}/namespaces/default/httproutes", http_route("web"))
        await follower.until(lambda: follower.names("HTTPRoute") == ["web"])
        install(cluster)
        install_policies(cluster)
        await follower.until(lambda: not follower.source.missing)
        assert follower.source.bundles == [("standard", bundle_version())]
        # An upgrade to the experimental channel is nothing to the objects.
        install(cluster, "experimental")
        await follower.until(lambda: follower.source.bundles == [("experimental", bundle_version())])
        assert follower.names("HTTPRoute") == ["web"]
        cluster.request("DELETE", f"{DEFINITIONS}/httproutes.gateway.networking.k8s.io")
        await follower.until(lambda: follower.source.missing == ["HTTPRoute"])
        await follower.until(lambda: not follower.names("HTTPRoute"))


async def test_a_server_that_is_away_changes_nothing_and_the_catch_up_is_the_difference(
    make_cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_source, "STALE_SECONDS", 1.0)
    cluster = make_cluster()
    install(cluster)
    for name in ("stays", "goes", "changes"):
        cluster.request("POST", "/api/v1/namespaces/default/services", service(name))
    async with following(cluster.kubeconfig()) as follower:
        before = dict(follower.values)
        cluster.kill_server()
        await follower.until(lambda: follower.source.stale)
        assert follower.values == before
        follower.changes.clear()
        cluster.start()
        cluster.request("DELETE", "/api/v1/namespaces/default/services/goes")
        change = {"spec": {"ports": [{"name": "http", "port": 81}]}}
        cluster.request("PATCH", "/api/v1/namespaces/default/services/changes", change, MERGE)
        await follower.until(lambda: not follower.source.stale)
        await follower.until(lambda: follower.names("Service", "default") == ["changes", "kubernetes", "stays"])
        await follower.until(lambda: follower.values != before)
        keys = {change.key if isinstance(change, Delete) else change.value.key for change in follower.changes}
        assert {key.name for key in keys if key.kind == "Service" and key.namespace == "default"} <= {"goes", "changes"}
        assert not [key for key in keys if key.kind == "Namespace" and key.name == "default"]


async def test_a_server_that_comes_late_is_waited_for(make_cluster):
    cluster = make_cluster()
    install(cluster)
    cluster.kill_server()
    async with ApiServer(cluster.kubeconfig(), "weft-test") as api:
        follower = Follower(KubernetesSource(api, node_collections("n1")))
        task = asyncio.ensure_future(follower.run())
        await follower.until(lambda: "Cannot connect" in follower.source.status()["definitions"])
        assert not follower.synced
        await asyncio.to_thread(cluster.start)
        await follower.until(lambda: follower.synced)
        assert "default" in follower.names("Namespace")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_token_that_was_replaced_is_read_again(make_cluster, tmp_path: Path):
    cluster = make_cluster()
    install(cluster)
    file = tmp_path / "token"
    for number in range(2):
        file.write_text(f"token-{number}")
        cluster.allow_token(f"token-{number}", "agent")
        cluster.kill_server()
        cluster.start()
        if number == 0:
            kubeconfig = cluster.kubeconfig("agent", token=file)
            context = following(kubeconfig)
            follower = await context.__aenter__()
    try:
        cluster.request("POST", "/api/v1/namespaces", namespace("later"))
        await follower.until(lambda: "later" in follower.names("Namespace"))
    finally:
        await context.__aexit__(None, None, None)


async def test_a_hostile_object_takes_no_other_down(make_cluster):
    """A definition that lets everything through, as one of a fork or of the future might."""
    cluster = make_cluster()
    install(cluster, only="httproutes")
    loosen(cluster, "httproutes")
    routes = f"{GATEWAY}/namespaces/default/httproutes"
    for name in ("good", "turns-bad"):
        cluster.request("POST", routes, http_route(name))
    async with following(cluster.kubeconfig()) as follower:
        assert follower.names("HTTPRoute") == ["good", "turns-bad"]
        await post_hostile(cluster, routes)
        before = follower.values[Key("HTTPRoute", "default", "turns-bad")]
        cluster.request("PATCH", f"{routes}/turns-bad", {"spec": {"rules": "none"}}, MERGE)
        await follower.until(lambda: len(follower.problems) == 3)
        assert follower.values[Key("HTTPRoute", "default", "turns-bad")] == before
        cluster.request("POST", routes, http_route("later"))
        await follower.until(lambda: follower.names("HTTPRoute") == ["good", "later", "turns-bad"])
        cluster.request("DELETE", f"{routes}/bad-0")
        await follower.until(lambda: "httproutes/default/bad-0" not in follower.problems)
    async with following(cluster.kubeconfig()) as follower:
        assert follower.names("HTTPRoute") == ["good", "later"]
        assert set(follower.problems) == {"httproutes/default/bad-1", "httproutes/default/turns-bad"}


async def post_hostile(cluster: Cluster, routes: str) -> None:
    """Two objects that no schema of the Gateway API would let in."""
    until = asyncio.get_running_loop().time() + 20
    for number, spec in enumerate(({"rules": [{"backendRefs": [{"name": 7}]}]}, [1])):
        body = http_route(f"bad-{number}") | {"spec": spec}
        while True:
            try:
                cluster.request("POST", routes, body)
            except urllib.error.HTTPError:  # the definition's change takes a moment
                assert asyncio.get_running_loop().time() < until
                await asyncio.sleep(0.1)
            else:
                break
