"""The Gateway API's own definitions, as its release has them: nothing is copied into this repository."""

import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from apiserver_process import PATIENCE, Cluster, find

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def folder() -> Path:
    """The release's definitions: folders `standard` and `experimental`. Raises `LookupError`."""
    return find("gateway-api-crds-v*")


def read_definitions(channel: str) -> Iterator[dict[str, Any]]:
    """Every CustomResourceDefinition of a release channel."""
    for path in sorted((folder() / channel).glob("gateway.networking*.yaml")):
        for document in yaml.load_all(path.read_text(), yaml.CSafeLoader):
            if document and document["kind"] == "CustomResourceDefinition":
                yield document


def install(cluster: Cluster, channel: str = "standard", only: str = "") -> None:
    """Install a channel's definitions, or the one whose name begins so; returns when they are served."""
    chosen = [item for item in read_definitions(channel) if item["metadata"]["name"].startswith(only)]
    for document in chosen:
        path = f"{DEFINITIONS}/{document['metadata']['name']}?fieldManager=test&force=true"
        cluster.request("PATCH", path, document, "application/apply-patch+yaml")
    deadline = time.monotonic() + PATIENCE
    while not all(_is_served(cluster, document["spec"]) for document in chosen):
        assert time.monotonic() < deadline, "definitions are not served"
        time.sleep(0.05)


@contextmanager
def gateway_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster with the standard channel."""
    made = Cluster(folder)
    try:
        made.start()
        install(made)
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
