"""Where everything of the cluster is: names, addresses, folders. Nothing here does anything."""

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

# What the nodes are made of: `machines` or `kind` (provider.py).
PROVIDER = os.environ.get("WEFT_CLUSTER_PROVIDER", "machines")
# Clusters with different names do not touch each other: each has its own addresses, in namespaces of its own.
NAME = os.environ.get("WEFT_CLUSTER", "weft-kind" if PROVIDER == "kind" else "weft-cluster")
ROOT = Path(__file__).parents[2]
# Every file, mount and process of the cluster hangs on this folder.
STATE = Path("/run") / NAME
CGROUPS = Path("/sys/fs/cgroup")

KUBECONFIG = STATE / "kubeconfig"
# The machines wait for this file before they start what needs the API server and its objects.
READY = STATE / "api-is-ready"

NODE_NETWORK = IPv4Network("10.200.0.0/24")
POD_NETWORK = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
API_SERVICE = IPv4Address("10.96.0.1")
DNS_SERVICE = IPv4Address("10.96.0.10")
API_PORT = 6443
DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine without a VM: a network, mount, pid and uts namespace, and a cgroup."""

    name: str
    address: IPv4Address

    @property
    def folder(self) -> Path:
        """What belongs to it: logs, disks, configuration."""
        return STATE / self.name

    @property
    def netns(self) -> Path:
        """The file that its network namespace is bound to."""
        return STATE / "netns" / self.name

    @property
    def cgroup(self) -> str:
        """Its cgroup's path in every hierarchy."""
        return f"/{NAME}-{self.name}"


@dataclass(frozen=True, slots=True)
class Node(Machine):
    """A machine that runs pods."""

    pods: IPv4Network


CONTROL_PLANE = Machine("control-plane", NODE_NETWORK[1])
NODES = (
    Node("node1", NODE_NETWORK[11], IPv4Network("10.244.1.0/24")),
    Node("node2", NODE_NETWORK[12], IPv4Network("10.244.2.0/24")),
)
MACHINES = (CONTROL_PLANE, *NODES)
API_ADDRESS = f"https://{CONTROL_PLANE.address}:{API_PORT}"
