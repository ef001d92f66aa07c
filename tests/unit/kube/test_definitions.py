"""Which kinds a cluster has, and from which bundle."""

import json

from agent.kube.collection import collection, node_collections
from agent.kube.decode import GATEWAY
from agent.kube.definitions import Bundle, Definition, best_versions, bundles, definitions, group_versions, resources
from agent.model.meta import Key, ObjectMeta
from agent.model.multicluster import GROUP as MULTICLUSTER


def defined(name: str, **annotations: str) -> Definition:
    notes = {f"gateway.networking.k8s.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return Definition(ObjectMeta(name, annotations=notes))


def known(*values: Definition) -> dict[Key, Definition]:
    return {value.key: value for value in values}


def test_the_best_version_that_is_served_is_read():
    contents = {f"{GATEWAY}/v1": frozenset({"httproutes"}), f"{GATEWAY}/v1alpha2": frozenset({"tcproutes"})}
    contents[f"{MULTICLUSTER}/v1alpha1"] = frozenset({"serviceimports"})
    found = {item.kind: version for item, version in best_versions(node_collections("n"), contents).items()}
    assert found == {
        "Namespace": "v1",
        "Node": "v1",
        "Pod": "v1",
        "RuntimeClass": "node.k8s.io/v1",
        "Service": "v1",
        "EndpointSlice": "discovery.k8s.io/v1",
        "ServiceImport": f"{MULTICLUSTER}/v1alpha1",
        "HTTPRoute": f"{GATEWAY}/v1",
        "TCPRoute": f"{GATEWAY}/v1alpha2",
    }


def test_a_kind_that_only_newer_servers_have_is_followed_where_it_is_served():
    (found,) = [item for item in node_collections("n") if item.kind == "ServiceCIDR"]
    assert (found.defined, found.optional) == (False, True)
    for plurals, expected in (({"servicecidrs", "ingresses"}, {found: "networking.k8s.io/v1"}), ({"ingresses"}, {})):
        assert best_versions([found], {"networking.k8s.io/v1": frozenset(plurals)}) == expected
    assert best_versions([found], {}) == {}


def test_paths():
    assert collection("Pod").path("v1") == "/api/v1/pods"
    assert collection("RuntimeClass").path("node.k8s.io/v1") == "/apis/node.k8s.io/v1/runtimeclasses"
    assert collection("HTTPRoute").path(f"{GATEWAY}/v1") == f"/apis/{GATEWAY}/v1/httproutes"
    assert definitions().path("apiextensions.k8s.io/v1").endswith("/customresourcedefinitions")


def test_the_api_s_tables_of_contents():
    group = {"kind": "APIGroup", "versions": [{"groupVersion": "g/v1", "version": "v1"}, {"groupVersion": "g/v2"}]}
    assert group_versions(json.dumps(group).encode()) == ("g/v1", "g/v2")
    listed = {"resources": [{"name": "httproutes"}, {"name": "httproutes/status"}]}
    assert resources(json.dumps(listed).encode()) == {"httproutes", "httproutes/status"}


def test_bundles_are_those_of_the_kinds_that_matter():
    standard = {"channel": "standard", "bundle_version": "v1.6.1"}
    found = known(
        defined(f"httproutes.{GATEWAY}", **standard),
        defined(f"grpcroutes.{GATEWAY}", **standard),
        defined("gateways.example.org", channel="other"),
        defined(f"serviceimports.{MULTICLUSTER}"),
    )
    assert bundles(found, node_collections("n")) == [Bundle("standard", "v1.6.1")]
    mixed = found | known(defined(f"tcproutes.{GATEWAY}", channel="experimental", bundle_version="v1.4.0"))
    assert bundles(mixed, node_collections("n")) == [Bundle("experimental", "v1.4.0"), Bundle("standard", "v1.6.1")]
    assert bundles(known(defined(f"udproutes.{GATEWAY}")), node_collections("n")) == [Bundle("unknown", "unknown")]
