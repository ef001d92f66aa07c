"""A cluster whose nodes are machines without a VM (`machines`): namespaces and cgroups of this machine."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import api_server
import control_plane
import images
import layout
import machines
import network
import nodes
import progress
from certificates import Authority, Credential, kubeconfig
from layout import CONTROL_PLANE, MACHINES, NODES, Machine

RELAY = Path(__file__).with_name("relay.py")
COREDNS = Path(__file__).with_name("manifests") / "coredns.yaml"
TARGET = "cluster"
AUDIT_LOG = control_plane.AUDIT_LOG
KUSTOMIZATION = layout.ROOT / "daemonset/base"


def kubepods(name: str) -> str:
    """All nodes of this cluster share one tree of cgroups."""
    return f"{layout.CGROUPS}/unified/{layout.NAME}-{name}/kubepods"


AGENT_ARGUMENTS = (f"--kubepods={kubepods('$(NODE_NAME)')}",)


def require() -> None:
    """Exits with a sentence when this machine cannot have such a cluster."""
    if os.geteuid() != 0:
        sys.exit("cluster: must run as root")
    if (layout.CGROUPS / "cgroup.controllers").exists():
        sys.exit("cluster: needs cgroups of version 1, or the hybrid tree, at /sys/fs/cgroup")


def start() -> None:
    """Start all machines; nodes and DNS are there when it returns, and not ready yet."""
    authority = Authority("weft-cluster")
    with progress.timed("cluster: machines started"):
        network.connect()
        _start_machines(authority)
        _write_kubeconfig(authority, _start_relay())
    with progress.timed("cluster: API server ready"):
        api_server.wait()
    _create_nodes()
    layout.READY.touch()
    api_server.kubectl("create", "--filename", str(COREDNS))


def remove() -> None:
    """Remove the machines with all that they left."""
    machines.remove_all()


def enter(name: str) -> list[str]:
    """The command that runs another one on a machine."""
    return machines.enter(_machine(name))


def crash(name: str) -> None:
    """Kill everything on a machine."""
    machines.crash(_machine(name))


def boot(name: str) -> None:
    """Start a machine again that has crashed."""
    machine = _machine(name)
    machines.boot(machine)
    if machine == CONTROL_PLANE:
        _start_relay(_relay_port())


def load(archive: Path) -> None:
    """Import an image archive on all nodes."""
    for node in NODES:
        with archive.open("rb") as content:
            subprocess.run([*machines.enter(node), *nodes.import_command(Path("-"))], stdin=content, check=True)


def ctr() -> Sequence[str]:
    """`ctr` of a node's containerd, as a command on the node."""
    return nodes.ctr()


def _machine(name: str) -> Machine:
    return next(machine for machine in MACHINES if machine.name == name)


def _start_machines(authority: Authority) -> None:
    credentials = layout.STATE / "credentials"
    credentials.mkdir(mode=0o700)
    control_plane.start(authority, credentials)
    archives = images.make_all(layout.STATE / "images")
    for node in NODES:
        nodes.start(node, authority, archives)


def _start_relay(port: int = 0) -> int:
    """Make the API server reachable at a port of the host's loopback; which one it is. With 0 the kernel chooses."""
    with socket.create_server(("127.0.0.1", port)) as listener, (layout.STATE / "relay.log").open("ab") as log:
        target = [str(CONTROL_PLANE.address), str(layout.API_PORT)]
        subprocess.Popen(
            ["nsenter", f"--net={CONTROL_PLANE.netns}", sys.executable, RELAY, str(listener.fileno()), *target],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        bound: int = listener.getsockname()[1]
    return bound


def _write_kubeconfig(authority: Authority, port: int) -> None:
    credential: Credential = authority.issue("weft-admin", ("system:masters",))
    layout.KUBECONFIG.touch(mode=0o600)
    layout.KUBECONFIG.write_text(kubeconfig(authority, f"https://127.0.0.1:{port}", credential))


def _relay_port() -> int:
    """Where the kubeconfig says that the relay is: it crashed with the control plane."""
    server = api_server.kubectl("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")
    return int(server.rpartition(":")[2])


def _create_nodes() -> None:
    items = [nodes.api_object(node) for node in NODES]
    api_server.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
