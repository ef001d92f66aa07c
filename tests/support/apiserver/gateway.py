"""The Gateway API's own definitions, and those of imports, as releases have them: nothing is copied to here."""

import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import builds
import cache
import yaml

from support import REPOSITORY
from support.apiserver.process import PATIENCE, Cluster

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def folder(version: str = builds.NEWEST) -> Path:
    """The definitions of a minor version: folders `standard` and `experimental`. Raises `LookupError`."""
    return cache.found(builds.gateway_api_folder(version))


def bundle_version(version: str = builds.NEWEST) -> str:
    """The release that `folder` has, as its annotations name it: `v1.7.0`."""
    return folder(version).name.rpartition("-")[2]


def read_definitions(channel: str, version: str = builds.NEWEST) -> Iterator[dict[str, Any]]:
    """Every CustomResourceDefinition of a release channel."""
    for path in sorted((folder(version) / channel).glob("gateway.networking*.yaml")):
        for document in yaml.load_all(path.read_text(), yaml.CSafeLoader):
            if document and document["kind"] == "CustomResourceDefinition":
                yield document


def install(cluster: Cluster, channel: str = "standard", only: str = "", version: str = builds.NEWEST) -> None:
    """Install a channel's definitions, or the one whose name begins so; returns when they are served."""
    chosen = read_definitions(channel, version)
    _define(cluster, [item for item in chosen if item["metadata"]["name"].startswith(only)])


def read_imports() -> dict[str, Any]:
    """The CustomResourceDefinition of ServiceImports."""
    file = cache.found(builds.multicluster_folder()) / "multicluster.x-k8s.io_serviceimports.yaml"
    (document,) = yaml.load_all(file.read_text(), yaml.CSafeLoader)
    assert isinstance(document, dict)
    return document


def install_imports(cluster: Cluster, version: str = "") -> None:
    """Install the definition of ServiceImports, in all versions or in one; returns when it is served."""
    document = read_imports()
    if version:
        (kept,) = (item for item in document["spec"]["versions"] if item["name"] == version)
        document["spec"]["versions"] = [kept | {"storage": True}]
    _define(cluster, [document])


def loosen(cluster: Cluster, plural: str) -> None:
    """Make the API server accept any object of a kind, as a later or patched definition may do."""
    path = f"{DEFINITIONS}/{plural}.gateway.networking.k8s.io"
    versions = cluster.request("GET", path)["spec"]["versions"]
    for version in versions:
        version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    cluster.request("PATCH", path, {"spec": {"versions": versions}}, "application/merge-patch+json")


def read_shipped(plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition of weft that ships: `authorizationpolicies`."""
    file = REPOSITORY / f"daemonset/base/{plural}.yaml"
    document, *_ = yaml.load_all(file.read_text(), yaml.CSafeLoader)
    assert isinstance(document, dict)
    return document


def install_policies(cluster: Cluster) -> None:
    """Install those that agents read; returns when they are served."""
    _define(cluster, [read_shipped(plural) for plural in ("authorizationpolicies", "meshparameters", "weftnodes")])


def _define(cluster: Cluster, chosen: list[dict[str, Any]]) -> None:
    for document in chosen:
        path = f"{DEFINITIONS}/{document['metadata']['name']}?fieldManager=test&force=true"
        cluster.request("PATCH", path, document, "application/apply-patch+yaml")
    deadline = time.monotonic() + PATIENCE
    while not all(_is_served(cluster, document["spec"]) for document in chosen):
        assert time.monotonic() < deadline, "definitions are not served"
        time.sleep(0.05)


@contextmanager
def gateway_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster with the standard channel, and with weft's own definition for agents."""
    made = Cluster(folder)
    try:
        made.start()
        install(made)
        install_policies(made)
        yield made
    finally:
        made.stop()


def _is_served(cluster: Cluster, spec: dict[str, Any]) -> bool:
    version = next(item["name"] for item in spec["versions"] if item["served"])
    try:
        listed = cluster.request("GET", f"/apis/{spec['group']}/{version}")["resources"]
    except urllib.error.HTTPError:
        return False
    return any(item["name"] == spec["names"]["plural"] for item in listed)
