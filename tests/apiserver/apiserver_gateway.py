"""The Gateway API's own definitions, from its Go module: nothing is copied into this repository."""

import functools
import json
import shutil
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from apiserver_process import PATIENCE, Cluster

VERSION = "v1.6.1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@functools.cache
def module() -> Path | None:
    """The module's folder; None where it cannot be had."""
    if shutil.which("go") is None:
        return None
    command = ["go", "mod", "download", "-json", f"sigs.k8s.io/gateway-api@{VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    return Path(json.loads(done.stdout)["Dir"]) if done.returncode == 0 else None


def read_definitions(channel: str) -> Iterator[dict[str, Any]]:
    """Every CustomResourceDefinition of a release channel."""
    folder = module()
    assert folder is not None
    for path in sorted((folder / "config" / "crd" / channel).glob("gateway.networking*.yaml")):
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


def _is_served(cluster: Cluster, spec: dict[str, Any]) -> bool:
    version = next(item["name"] for item in spec["versions"] if item["served"])
    try:
        listed = cluster.request("GET", f"/apis/{spec['group']}/{version}")["resources"]
    except urllib.error.HTTPError:
        return False
    return any(item["name"] == spec["names"]["plural"] for item in listed)
