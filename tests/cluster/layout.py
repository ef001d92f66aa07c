"""Where everything of the cluster is: names, addresses, folders. Nothing here does anything."""

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

# What the nodes are made of: `machines` or `kind` (provider.py).
PROVIDER = os.environ.get("WEFT_CLUSTER_PROVIDER", "machines")
# `ipv4`, or `dual`: IPv4 and IPv6, with IPv4 first. Of the provider `machines`.
IP_FAMILY = os.environ.get("IP_FAMILY", "ipv4")
if IP_FAMILY not in ("ipv4", "dual"):
    raise SystemExit(f"IP_FAMILY={IP_FAMILY}: the cluster can be ipv4 or dual")
DUAL = IP_FAMILY == "dual"
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
NODE_NETWORK6 = IPv6Network("fd00:10:200::/64")
SERVICE_NETWORK6 = IPv6Network("fd00:10:96::/112")
POD_NETWORK6 = IPv6Network("fd00:10:244::/48")
API_SERVICE = IPv4Address("10.96.0.1")
DNS_SERVICE = IPv4Address("10.96.0.10")
API_PORT = 6443
DOMAIN = "cluster.local"


def families(ipv4: object, ipv6: object) -> list[str]:
    """What there is of both in this cluster."""
    return [str(ipv4), str(ipv6)] if DUAL else [str(ipv4)]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine without a VM: a network, mount, pid and uts namespace, and a cgroup."""

    name: str
    address: IPv4Address
    address6: IPv6Address

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
    pods6: IPv6Network

    @property
    def addresses(self) -> list[str]:
        """Its addresses, in the order of the cluster's families."""
        return families(self.address, self.address6)

    @property
    def pod_networks(self) -> list[str]:
        """The networks of its pods, in the same order."""
        return families(self.pods, self.pods6)


CONTROL_PLANE = Machine("control-plane", NODE_NETWORK[1], NODE_NETWORK6[1])
NODES = (
    Node("node1", NODE_NETWORK[11], NODE_NETWORK6[11], IPv4Network("10.244.1.0/24"), IPv6Network("fd00:10:244:1::/64")),
    Node("node2", NODE_NETWORK[12], NODE_NETWORK6[12], IPv4Network("10.244.2.0/24"), IPv6Network("fd00:10:244:2::/64")),
)
MACHINES = (CONTROL_PLANE, *NODES)
API_ADDRESS = f"https://{CONTROL_PLANE.address}:{API_PORT}"
