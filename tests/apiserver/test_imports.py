"""ServiceImports of a real API server: in the versions that it serves, and what Routes are told of them."""

from typing import Any

import pytest

from agent.model.core import Node, ServiceCIDR
from agent.model.meta import Key
from agent.model.multicluster import GROUP, ServiceImport
from support.apiserver.controller import running
from support.apiserver.gateway import DEFINITIONS, install, install_imports
from support.apiserver.objects import GATEWAY, IMPORTS, http_route, service_import
from support.apiserver.process import Cluster
from support.apiserver.source import following
from support.apiserver.statuses import GOOD, own_conditions, until


@pytest.mark.parametrize(("only", "version"), [("", "v1beta1"), ("v1beta1", "v1beta1"), ("v1alpha1", "v1alpha1")])
async def test_the_best_version_that_is_served_is_followed(make_cluster, only: str, version: str):
    cluster = make_cluster()
    install_imports(cluster, only)
    path = f"/apis/{GROUP}/{version}/namespaces/default/serviceimports"
    cluster.request("POST", path, service_import("web", "10.112.0.1", version=version))
    async with following(cluster.kubeconfig()) as follower:
        assert follower.source.status()["collections"]["ServiceImport"]["version"] == f"{GROUP}/{version}"
        found = follower.values[Key("ServiceImport", "default", "web")]
        assert isinstance(found, ServiceImport)
        assert (found.cluster_ips, found.spec.ports[0].port) == (("10.112.0.1",), 80)
        # The Gateway API is not there, and imports say nothing about it.
        assert follower.source.bundles == []
        assert follower.source.missing


async def test_imports_come_and_go_with_their_definition(make_cluster):
    cluster = make_cluster()
    async with following(cluster.kubeconfig()) as follower:
        # Most clusters have none: it is not said that they are waited for.
        assert "ServiceImport" not in follower.source.missing
        install_imports(cluster)
        cluster.request("POST", f"{IMPORTS}/namespaces/default/serviceimports", service_import("web", "10.112.0.1"))
        await follower.until(lambda: follower.names("ServiceImport") == ["web"])
        cluster.request("DELETE", f"{DEFINITIONS}/serviceimports.{GROUP}")
        await follower.until(lambda: not follower.names("ServiceImport"))


async def test_a_route_of_an_import_is_accepted_when_definition_and_import_are_there(make_cluster):
    cluster: Cluster = make_cluster()
    install(cluster, only="httproutes")
    parent: dict[str, Any] = {"group": GROUP, "kind": "ServiceImport", "name": "web"}
    route = http_route("web", parent)
    route["spec"]["rules"] = [{"backendRefs": [parent | {"port": 80}]}]
    cluster.request("POST", f"{GATEWAY}/namespaces/default/httproutes", route)
    async with running(cluster.kubeconfig(), "imports"):
        missing = {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": ("False", "BackendNotFound")}
        await until(lambda: own_conditions(cluster, "default") == missing)
        install_imports(cluster)
        path = f"{IMPORTS}/namespaces/default/serviceimports"
        cluster.request("POST", path, service_import("web", "10.112.0.1"))
        await until(lambda: own_conditions(cluster, "default") == GOOD)
        cluster.request("DELETE", f"{path}/web")
        await until(lambda: own_conditions(cluster, "default") == missing)


async def test_ranges_of_services_are_followed_where_the_server_has_the_kind(make_cluster):
    cluster = make_cluster()
    async with following(cluster.kubeconfig()) as follower:
        assert follower.source.status()["collections"]["ServiceCIDR"]["version"] == "networking.k8s.io/v1"
        assert "ServiceCIDR" not in follower.source.missing
        # The server makes the first one itself, of its own flag, a moment after it is ready.
        await follower.until(lambda: follower.names("ServiceCIDR") == ["kubernetes"])
        more = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.113.0.0/24"]}}
        cluster.request("POST", "/apis/networking.k8s.io/v1/servicecidrs", more)
        await follower.until(lambda: follower.names("ServiceCIDR") == ["kubernetes", "more"])
        first, second = (follower.values[Key("ServiceCIDR", "", name)] for name in ("kubernetes", "more"))
        assert isinstance(first, ServiceCIDR)
        assert isinstance(second, ServiceCIDR)
        assert (first.spec.cidrs, second.spec.cidrs) == (("10.96.0.0/16",), ("10.113.0.0/24",))


async def test_of_the_nodes_only_our_own_is_followed_with_its_zone(make_cluster):
    cluster = make_cluster()
    for name, zone in (("n1", "east"), ("n2", "west")):
        labels = {"topology.kubernetes.io/zone": zone}
        status = {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{name[1:]}"}]}
        cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "status": status})
    async with following(cluster.kubeconfig(), "n1") as follower:
        assert follower.names("Node") == ["n1"]
        found = follower.values[Key("Node", "", "n1")]
        assert isinstance(found, Node)
        assert found.zone == "east"
        assert [item.address for item in found.status.addresses] == ["192.0.2.1"]
