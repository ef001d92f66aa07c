"""The objects that kustomize and Helm render from daemonset/, by kind and name."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import builds
import yaml

from support import REPOSITORY

DAEMONSET = REPOSITORY / "daemonset"
Objects = dict[str, Any]


def kustomized(folder: Path) -> Objects:
    """What `kubectl apply --kustomize` would apply."""
    return _objects(_run(builds.built(builds.KUBERNETES, "kubectl"), "kustomize", folder))


def overlay(folder: Path, **fields: Any) -> Path:
    """A kustomization of a user's own, in a folder of theirs, on top of the base."""
    base = os.path.relpath(DAEMONSET / "base", folder)
    (folder / "kustomization.yaml").write_text(json.dumps({"resources": [base], **fields}))
    return folder


def templated(folder: Path, values: dict[str, Any], namespace: str = "weft-system") -> Objects:
    """What `helm install` would install; `folder` is for Helm's own files. Raises `CalledProcessError`."""
    (folder / "values.json").write_text(json.dumps(values))
    command: list[str | Path] = [
        "template",
        "weft",
        DAEMONSET / "chart",
        f"--namespace={namespace}",
        f"--values={folder}/values.json",
    ]
    folders = {f"HELM_{name}_HOME": str(folder / "helm") for name in ("CACHE", "CONFIG", "DATA")}
    return _objects(_run(builds.built(builds.HELM, "helm"), *command, **folders))


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout


def _objects(text: str) -> Objects:
    found = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
    named = {f"{item['kind']} {item['metadata']['name']}": item for item in found}
    assert len(named) == len(found)
    return named


def arguments(objects: Objects) -> dict[str, list[str]]:
    """The command line of each workload, by its kind and name."""
    return {
        name: container["args"]
        for name, item in objects.items()
        if item["kind"] in ("DaemonSet", "Deployment")
        for container in item["spec"]["template"]["spec"]["containers"]
    }
