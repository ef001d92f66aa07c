"""Links, addresses and routes of the lab, by netlink.

The node and each pod are network namespaces, joined by routed veth pairs with /32 and /128 addresses (as Calico and
kindnet do). The host's own namespace is never touched; only the folder of namespace handles is in common. Not to be
called in an event loop: pyroute2's synchronous sockets run one of their own.
"""

import errno
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import AF_INET, AF_INET6

from pyroute2 import IPRoute, NetlinkError, netns

from agent.ir.addresses import Family
from agent.lab.families import Ranges, of_family
from agent.lab.paths import NETNS_DIR, ROOT, LabPaths

# An address is usable at once: nobody else on a veth pair can have it (RFC 4862, duplicate address detection).
_NODAD = 0x02
_AF = {Family.IPV4: AF_INET, Family.IPV6: AF_INET6}
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Redirects would teach pods of one node to look for each other on their own link.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
_SYSCTLS6 = {"net/ipv6/conf/all/forwarding": "1"}
_MADE_MARK = ROOT / "made-netns-folder"


def make_node(paths: LabPaths) -> None:
    """Make the node's namespace.

    By a program: pyroute2 would fork this process, and a copy of one with gRPC's threads, as of tests, may crash.
    """
    if not NETNS_DIR.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        _MADE_MARK.touch()
    subprocess.run(["ip", "netns", "add", paths.node_netns], check=True)


def furnish_node(families: Sequence[Ranges]) -> None:
    """Give the namespace of the calling process a node's addresses, routes and settings."""
    has_ipv6 = any(ranges.family is Family.IPV6 for ranges in families)
    for name, value in (_SYSCTLS | (_SYSCTLS6 if has_ipv6 else {})).items():
        Path("/proc/sys", name).write_text(value)
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        for ranges in families:
            flags = _NODAD if ranges.family is Family.IPV6 else 0
            ip.addr("add", index=1, address=ranges.node, prefixlen=ranges.prefix, flags=flags)
            # Services have no link. A route lets nftables see them: to translate them, or to refuse what is left.
            ip.route("add", dst=str(ranges.services), oif=1, prefsrc=ranges.node)
            if ranges.family is Family.IPV4:
                ip.addr("add", index=1, address=ranges.gateway, prefixlen=32)


def add_pod(namespace: str, link: str, addresses: list[str], families: Sequence[Ranges]) -> None:
    """Make a pod's namespace and join it to the node's, which must be that of the calling process."""
    netns.create(namespace)
    with IPRoute() as node, IPRoute(netns=namespace) as pod:
        node.link("add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
        index = node.link_lookup(ifname=link)[0]
        node.link("set", index=index, state="up")
        pod.link("set", index=1, state="up")
        eth0 = pod.link_lookup(ifname="eth0")[0]
        pod.link("set", index=eth0, state="up")
        for ranges in families:
            if address := of_family(addresses, ranges):
                _join(node, index, pod, eth0, address, ranges)


def _join(node: IPRoute, link: int, pod: IPRoute, eth0: int, address: str, ranges: Ranges) -> None:
    """One address of a pod, with the routes there and back. IPv6 finds the gateway on the link itself, as neighbor
    discovery does not answer for addresses of other interfaces; IPv4 finds it on the node's loopback.
    """
    if ranges.family is Family.IPV6:
        node.addr("add", index=link, address=ranges.gateway, prefixlen=64, flags=_NODAD)
        pod.addr("add", index=eth0, address=address, prefixlen=128, flags=_NODAD)
    else:
        pod.addr("add", index=eth0, address=address, prefixlen=32)
        pod.route("add", dst=f"{ranges.gateway}/32", oif=eth0, scope="link")
    pod.route("add", dst="default", gateway=ranges.gateway, oif=eth0, family=_AF[ranges.family])
    node.route("add", dst=f"{address}/{ranges.prefix}", oif=link, scope="link", prefsrc=ranges.node)


def remove_pod(namespace: str, link: str) -> None:
    """Remove a pod's namespace and its veth pair; absence is success.

    The link goes first: a namespace lives on while a process that is being killed is in it.
    """
    with IPRoute() as node:
        for index in node.link_lookup(ifname=link):
            try:
                node.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise
    remove_namespace(namespace)


def remove_namespace(name: str) -> None:
    """Remove a namespace's handle; absence is success."""
    with suppress(FileNotFoundError):
        netns.remove(name)


def remove_stale(paths: LabPaths) -> None:
    """Remove every namespace of this lab, and the folder of handles if a lab made it and no namespace is left.

    Labs that end at the same time remove the folder together: it can be gone at any moment.
    """
    with suppress(FileNotFoundError):
        for entry in NETNS_DIR.iterdir():
            if entry.name == paths.node_netns or entry.name.startswith(f"{paths.node_netns}-"):
                remove_namespace(entry.name)
    with suppress(OSError):
        if _MADE_MARK.exists() and not any(NETNS_DIR.iterdir()):
            # When a lab begins just now, umount and rmdir fail, and the mark stays for the next lab that ends.
            subprocess.run(["umount", NETNS_DIR], check=False, stderr=subprocess.DEVNULL)
            NETNS_DIR.rmdir()
            _MADE_MARK.unlink()
