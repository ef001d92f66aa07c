"""weft on the cluster that runs, as its users install it: the images on each node, and daemonset/ by kustomize."""

import argparse
import json
import shutil
import time
from pathlib import Path

import cluster
import layout
import weft_image

OVERLAY = layout.STATE / "weft"
NAMESPACE = "weft-system"


def install() -> None:
    """Build the images that the cache lacks, give them to the nodes, apply the manifests, wait until all is ready."""
    begin = time.monotonic()
    for archive in weft_image.archives():
        cluster.load(archive)
    cluster.kubectl("apply", "--kustomize", str(_overlay(weft_image.tag())))
    for workload in ("daemonset/weft-agent", "daemonset/weft-waypoint", "deployment/weft-controller"):
        cluster.kubectl("rollout", "status", "--timeout=180s", f"--namespace={NAMESPACE}", workload)
    print(f"weft {weft_image.tag()} installed: {time.monotonic() - begin:.1f} s", flush=True)


def _overlay(tag: str) -> Path:
    """What is this cluster's own, in a folder of the cluster's state."""
    shutil.rmtree(OVERLAY, ignore_errors=True)
    OVERLAY.mkdir()
    (OVERLAY / "weft").symlink_to(cluster.PROVIDER.KUSTOMIZATION)
    spec, values = "/spec/template/spec", cluster.PROVIDER.AGENT_ARGUMENTS
    arguments = [
        {"op": "add", "path": f"{spec}/{container}/args/-", "value": value}
        for container in ("containers/0", "initContainers/0")
        for value in values
    ]
    # Their arguments name the node.
    arguments += [{"op": "copy", "from": f"{spec}/containers/0/env", "path": f"{spec}/initContainers/0/env"}]
    target = {"kind": "DaemonSet", "name": "weft-agent"}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["weft"],
        "images": [{"name": name, "newTag": tag} for name in weft_image.NAMES.values()],
        "patches": [{"target": target, "patch": json.dumps(arguments)}] if values else [],
    }
    (OVERLAY / "kustomization.yaml").write_text(json.dumps(kustomization, indent=2))
    return OVERLAY


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    install()


if __name__ == "__main__":
    main()
