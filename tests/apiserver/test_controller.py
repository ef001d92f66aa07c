"""The controller against a real API server: what Routes are told, by whom, and how often."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent.controller.mesh import FEATURES
from agent.kube.client import ApiServer
from agent.model.meta import CONTROLLER_NAME
from support.apiserver.controller import running
from support.apiserver.gateway import gateway_cluster, install
from support.apiserver.objects import GATEWAY, http_route, namespace, parent, service
from support.apiserver.process import Cluster
from support.apiserver.statuses import GOOD, MERGE, own_conditions, parents, until

MESHES = "/apis/gateway.networking.x-k8s.io/v1alpha1/xmeshes"


@pytest.fixture(scope="module")
def cluster(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster where nobody else makes Routes: writes are counted here."""
    with gateway_cluster(tmp_path_factory.mktemp("controller")) as made:
        yield made


def make(cluster: Cluster, space: str, *parent_refs: dict[str, Any]) -> None:
    cluster.request("POST", "/api/v1/namespaces", namespace(space))
    cluster.request("POST", f"/api/v1/namespaces/{space}/services", service("web", 80))
    cluster.request("POST", f"{GATEWAY}/namespaces/{space}/httproutes", http_route("web", *parent_refs))


async def test_a_route_s_life(cluster: Cluster):
    make(cluster, "life")
    path = f"{GATEWAY}/namespaces/life/httproutes/web"
    async with running(cluster.kubeconfig(), "life") as controller:
        await until(lambda: own_conditions(cluster, "life") == GOOD)
        (entry,) = parents(cluster, "life")
        assert entry["parentRef"] == {"group": "", "kind": "Service", "name": "web"}
        first = {item["type"]: item for item in entry["conditions"]}
        await until(lambda: controller.metrics.written("HTTPRoute"))
        writes = controller.metrics.written("HTTPRoute")
        # A change that makes no difference to the status is not answered.
        cluster.request("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, MERGE)
        cluster.request("DELETE", "/api/v1/namespaces/life/services/web")
        await until(lambda: own_conditions(cluster, "life")["Accepted"] == ("False", "NoMatchingParent"))
        assert own_conditions(cluster, "life")["ResolvedRefs"] == ("False", "BackendNotFound")
        await until(lambda: controller.metrics.written("HTTPRoute") > writes)
        assert controller.metrics.written("HTTPRoute") == writes + 1
        cluster.request("POST", "/api/v1/namespaces/life/services", service("web", 80))
        await until(lambda: own_conditions(cluster, "life") == GOOD)
        # A new generation is observed; as nothing else changed, the times stay.
        rules = [{"name": "named", "backendRefs": [{"name": "web", "port": 80}]}]
        before = parents(cluster, "life")[0]["conditions"]
        cluster.request("PATCH", path, {"spec": {"rules": rules}}, MERGE)
        await until(lambda: parents(cluster, "life")[0]["conditions"][0]["observedGeneration"] == 2)
        after = parents(cluster, "life")[0]["conditions"]
        assert [item["lastTransitionTime"] for item in after] == [item["lastTransitionTime"] for item in before]
        assert first["Accepted"]["observedGeneration"] == 1


async def test_foreign_entries_and_conditions_survive_and_ours_go_when_we_are_not_meant(cluster: Cluster):
    gateway = {"name": "gateway"}
    make(cluster, "foreign", parent("web"), gateway)
    path = f"{GATEWAY}/namespaces/foreign/httproutes/web"
    other = {
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"},
        "controllerName": "example.org/gateway",
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "Accepted",
                "message": "hello",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    cluster.request("PATCH", f"{path}/status", {"status": {"parents": [other]}}, MERGE)
    async with running(cluster.kubeconfig(), "foreign"):
        await until(lambda: own_conditions(cluster, "foreign") == GOOD)
        assert parents(cluster, "foreign")[0] == other
        # Somebody adds a condition to our entry; a new state of ours leaves it there.
        entries = parents(cluster, "foreign")
        extra = other["conditions"][0] | {"type": "example.org/Seen"}  # type: ignore[index]
        entries[1]["conditions"].append(extra)
        cluster.request("PATCH", f"{path}/status", {"status": {"parents": entries}}, MERGE)
        cluster.request("DELETE", "/api/v1/namespaces/foreign/services/web")
        await until(lambda: own_conditions(cluster, "foreign").get("Accepted") == ("False", "NoMatchingParent"))
        assert extra in parents(cluster, "foreign")[1]["conditions"]
        cluster.request("PATCH", path, {"spec": {"parentRefs": [gateway]}}, MERGE)
        await until(lambda: parents(cluster, "foreign") == [other])


async def test_a_restart_writes_nothing_when_nothing_changed(cluster: Cluster):
    make(cluster, "restart")
    async with running(cluster.kubeconfig(), "restart"):
        await until(lambda: own_conditions(cluster, "restart") == GOOD)
    version = cluster.request("GET", f"{GATEWAY}/namespaces/restart/httproutes/web")["metadata"]["resourceVersion"]
    async with running(cluster.kubeconfig(), "restart", "b") as controller:
        cluster.request("POST", f"{GATEWAY}/namespaces/restart/httproutes", http_route("later"))
        await until(lambda: own_conditions(cluster, "restart", "later"))
        found = cluster.request("GET", f"{GATEWAY}/namespaces/restart/httproutes/web")
        assert found["metadata"]["resourceVersion"] == version
        await until(lambda: controller.metrics.written("HTTPRoute"))
        assert controller.metrics.written("HTTPRoute") == 1


async def test_what_others_write_meanwhile_is_no_loss(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    """Every write of ours meets an object that changed since it was read."""
    make(cluster, "conflict")
    path = f"{GATEWAY}/namespaces/conflict/httproutes/web"
    plain = ApiServer.send
    raced = []

    async def send(self: ApiServer, method: str, at: str, body: Any, *rest: Any) -> bytes:
        if at == f"{path}/status" and len(raced) < 3:
            raced.append(at)
            change = {"metadata": {"annotations": {"race": str(len(raced))}}}
            await asyncio.to_thread(cluster.request, "PATCH", path, change, MERGE)
        return await plain(self, method, at, body, *rest)

    monkeypatch.setattr(ApiServer, "send", send)
    async with running(cluster.kubeconfig(), "conflict") as controller:
        await until(lambda: own_conditions(cluster, "conflict") == GOOD and controller.metrics.written("HTTPRoute"))
        assert controller.metrics.written("HTTPRoute", "conflict") == 3
        found = cluster.request("GET", path)
        assert found["metadata"]["annotations"] == {"race": "3"}


def route(kind: str, name: str, port: int) -> dict[str, Any]:
    """A Route of this kind to the Service `web`, to one port of it."""
    made = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
    spec = {"parentRefs": [parent("web", port=port)], "rules": [{"backendRefs": [{"name": "web", "port": port}]}]}
    return made | {"spec": spec | ({"hostnames": ["a.example.org"]} if kind == "TLSRoute" else {})}


async def test_routes_of_every_kind_are_told(cluster: Cluster):
    ports = {"HTTPRoute": 80, "GRPCRoute": 81, "TCPRoute": 82, "TLSRoute": 83, "UDPRoute": 84}
    web = service("web", *ports.values())
    web["spec"]["ports"][-1]["protocol"] = "UDP"
    cluster.request("POST", "/api/v1/namespaces", namespace("kinds"))
    cluster.request("POST", "/api/v1/namespaces/kinds/services", web)
    paths = {kind: f"{GATEWAY}/namespaces/kinds/{kind.lower()}s" for kind in ports}
    for kind, port in ports.items():
        cluster.request("POST", paths[kind], route(kind, "r", port))
    async with running(cluster.kubeconfig(), "kinds") as controller:
        await until(lambda: all(controller.metrics.written(kind) for kind in ports))
        for kind, path in paths.items():
            (entry,) = cluster.request("GET", f"{path}/r")["status"]["parents"]
            assert entry["parentRef"] == {"group": "", "kind": "Service", "name": "web", "port": ports[kind]}
            assert {item["type"]: item["status"] for item in entry["conditions"]}["ResolvedRefs"] == "True", kind


async def test_a_route_is_told_which_rule_cannot_be_done_until_it_can(cluster: Cluster):
    make(cluster, "partial")
    path = f"{GATEWAY}/namespaces/partial/httproutes/web"
    reference = {"type": "ExtensionRef", "extensionRef": {"group": "example.org", "kind": "X", "name": "x"}}
    good = {"backendRefs": [{"name": "web", "port": 80}]}
    cluster.request("PATCH", path, {"spec": {"rules": [good, good | {"filters": [reference]}]}}, MERGE)
    async with running(cluster.kubeconfig(), "partial"):
        await until(lambda: own_conditions(cluster, "partial").get("PartiallyInvalid") == ("True", "UnsupportedValue"))
        (entry,) = parents(cluster, "partial")
        message = next(item["message"] for item in entry["conditions"] if item["type"] == "PartiallyInvalid")
        assert message.startswith("Dropped Rule 1")
        cluster.request("PATCH", path, {"spec": {"rules": [good]}}, MERGE)
        await until(lambda: own_conditions(cluster, "partial") == GOOD)


async def test_two_replicas_and_one_leads(cluster: Cluster):
    make(cluster, "two")
    async with running(cluster.kubeconfig(), "two", "b-first") as second:
        await until(lambda: second.election.leads)
        async with running(cluster.kubeconfig(), "two", "a-second") as first:
            await until(lambda: first.synced and own_conditions(cluster, "two") == GOOD)
            cluster.request("POST", f"{GATEWAY}/namespaces/two/httproutes", http_route("more"))
            await until(lambda: own_conditions(cluster, "two", "more") == GOOD)
            assert (first.election.leads, first.metrics.written("HTTPRoute")) == (False, 0)
        assert second.election.leads


async def test_the_second_replica_takes_over_when_the_first_ends(cluster: Cluster):
    make(cluster, "over")
    first_context = running(cluster.kubeconfig(), "over", "first")
    first = await first_context.__aenter__()
    await until(lambda: first.election.leads)
    async with running(cluster.kubeconfig(), "over", "second") as second:
        await until(lambda: second.synced)
        await first_context.__aexit__(None, None, None)
        await until(lambda: second.election.leads)
        cluster.request("POST", f"{GATEWAY}/namespaces/over/httproutes", http_route("later"))
        await until(lambda: own_conditions(cluster, "over", "later") == GOOD)


async def test_an_xmesh_where_there_is_the_experimental_channel(make_cluster):
    cluster = make_cluster()
    install(cluster)
    async with running(cluster.kubeconfig(), "mesh") as controller:
        await until(lambda: controller.synced and controller.election.leads)
        assert not controller.source.has_listed("XMesh")
        install(cluster, "experimental")
        await until(lambda: controller.metrics.written("XMesh") >= 2)
        found = cluster.request("GET", f"{MESHES}/weft")
        assert found["spec"] == {"controllerName": CONTROLLER_NAME}
        (accepted,) = found["status"]["conditions"]
        assert (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "True", "Accepted")
        assert [item["name"] for item in found["status"]["supportedFeatures"]] == list(FEATURES)
        # Parameters are its owner's to set; those of another kind are refused.
        parameters = {
            "spec": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "x", "namespace": "default"}}
        }
        cluster.request("PATCH", f"{MESHES}/weft", parameters, MERGE)
        await until(lambda: reason(cluster) == "InvalidParameters")
        cluster.request("PATCH", f"{MESHES}/weft", {"spec": {"parametersRef": None}}, MERGE)
        await until(lambda: reason(cluster) == "Accepted")


def reason(cluster: Cluster) -> str:
    conditions = cluster.request("GET", f"{MESHES}/weft")["status"]["conditions"]
    return next(str(item["reason"]) for item in conditions if item["type"] == "Accepted")


async def test_somebody_else_s_xmesh_is_left_alone(make_cluster):
    cluster = make_cluster()
    install(cluster, "experimental")
    other = {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XMesh", "metadata": {"name": "weft"}}
    made = cluster.request("POST", MESHES, other | {"spec": {"controllerName": "example.org/mesh"}})
    async with running(cluster.kubeconfig(), "mesh") as controller:
        await until(lambda: controller.election.leads and controller.statuses.foreign_owner())
        await asyncio.sleep(1)
        assert cluster.request("GET", f"{MESHES}/weft") == made
        assert controller.metrics.written("XMesh") == 0
