"""A cluster whose nodes are containers of Docker, made by kind, with the node image that kind's own source names."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builds
import control_plane
import images
import layout
import progress


@dataclass(frozen=True, slots=True)
class Node:
    """A container, which has the name of the node that it is."""

    name: str


NODES = tuple(Node(f"{layout.NAME}-{name}") for name in ("worker", "worker2"))
TARGET = "kind"
AUDIT_LOG = layout.STATE / "audit/audit.log"
KUSTOMIZATION = layout.ROOT / "daemonset/overlays/kind"
AGENT_ARGUMENTS: tuple[str, ...] = ()  # the overlay has them
_CONTROL_PLANE = f"{layout.NAME}-control-plane"
# Where the API server's container has the folder of the audit log.
_AUDIT = "/var/log/kubernetes-audit"


def require() -> None:
    """Exits with a sentence when this machine cannot have such a cluster."""
    if os.geteuid() != 0:
        sys.exit("kind: must run as root")
    if shutil.which("docker") is None:
        sys.exit("kind: needs Docker, which is not installed (Debian: docker.io and apparmor)")
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["docker info failed"])[-1]
        sys.exit(f"kind: needs Docker, whose daemon does not answer: {reason}")


def start() -> None:
    """Create the cluster; nodes and DNS are there when it returns, and perhaps not ready yet."""
    with progress.timed("cluster: containers started"):
        AUDIT_LOG.parent.mkdir()
        (AUDIT_LOG.parent / "policy.yaml").write_text(control_plane.AUDIT_POLICY)
        file = layout.STATE / "kind.json"
        file.write_text(json.dumps(configuration(), indent=2))
        _kind("create", "cluster", f"--config={file}", f"--kubeconfig={layout.KUBECONFIG}")
        # On all: the agents' DaemonSet tolerates the control plane's taint.
        for name in (_CONTROL_PLANE, *(node.name for node in NODES)):
            _mount_bpf(name)
    with progress.timed("cluster: images loaded"):
        for archive in images.make_for_pods(layout.STATE / "images"):
            load(archive)


def configuration() -> dict[str, Any]:
    """kind's, with an audit log. It names no node image: kind's default is by digest."""
    settings = {"audit-policy-file": f"{_AUDIT}/policy.yaml", "audit-log-path": f"{_AUDIT}/{AUDIT_LOG.name}"}
    arguments = [
        {"op": "add", "path": "/apiServer/extraArgs/-", "value": {"name": name, "value": value}}
        for name, value in settings.items()
    ]
    volume = {"name": "audit", "hostPath": _AUDIT, "mountPath": _AUDIT, "pathType": "Directory"}
    patch = [*arguments, {"op": "add", "path": "/apiServer/extraVolumes", "value": [volume]}]
    target = {"group": "kubeadm.k8s.io", "version": "v1beta4", "kind": "ClusterConfiguration"}
    mount = {"hostPath": str(AUDIT_LOG.parent), "containerPath": _AUDIT}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": layout.NAME,
        "nodes": [{"role": "control-plane", "extraMounts": [mount]}, *({"role": "worker"} for _ in NODES)],
        "kubeadmConfigPatchesJSON6902": [{**target, "patch": json.dumps(patch)}],
    }


def remove() -> None:
    """Delete the cluster; the network `kind`, which all clusters of kind share, stays."""
    _kind("delete", "cluster", f"--name={layout.NAME}", f"--kubeconfig={layout.KUBECONFIG}")
    shutil.rmtree(layout.STATE, ignore_errors=True)


def enter(name: str) -> list[str]:
    """The command that runs another one in a node's container."""
    return ["docker", "exec", "--interactive", _container(name)]


def crash(name: str) -> None:
    """Kill a node's container, with everything in it."""
    _run("docker", "kill", _container(name))


def boot(name: str) -> None:
    """Start a node's container again."""
    _run("docker", "start", _container(name))
    _mount_bpf(_container(name))


def load(archive: Path) -> None:
    """Import an image archive on all nodes."""
    _kind("load", "image-archive", str(archive), f"--name={layout.NAME}")


def ctr() -> Sequence[str]:
    """`ctr` of a node's containerd, as a command on the node."""
    return ("ctr", "--namespace=k8s.io")


def kubepods(name: str) -> str:
    """In the node's own cgroup namespace."""
    return "/sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice"


def _container(name: str) -> str:
    return _CONTROL_PLANE if name == layout.CONTROL_PLANE.name else name


def _mount_bpf(container: str) -> None:
    """A BPF file system of the node's own, as systemd mounts it on a node that is no container."""
    _run("docker", "exec", container, "mount", "-t", "bpf", "bpf", "/sys/fs/bpf")


def _kind(*arguments: str) -> None:
    _run(str(builds.program(builds.KIND, "kind")), *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
