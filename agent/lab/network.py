"""Links, addresses and routes of the lab, by netlink.

The node and each pod are network namespaces, joined by routed veth pairs with /32 addresses (as Calico and kindnet
do). The host's own namespace is never touched; only the folder of namespace handles is in common. Not to be called in
an event loop: pyroute2's synchronous sockets run one of their own.
"""

import errno
import subprocess
from contextlib import suppress
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError, netns

from agent.lab.paths import NETNS_DIR, ROOT, LabPaths

NODE_ADDRESS = "10.99.0.1"
GATEWAY = "169.254.1.1"
SERVICE_RANGE = "10.96.0.0/16"
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Redirects would teach pods of one node to look for each other on their own link.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
_MADE_MARK = ROOT / "made-netns-folder"


def make_node(paths: LabPaths) -> None:
    """Make the node's namespace.

    By a program: pyroute2 would fork this process, and a copy of one with gRPC's threads, as of tests, may crash.
    """
    if not NETNS_DIR.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        _MADE_MARK.touch()
    subprocess.run(["ip", "netns", "add", paths.node_netns], check=True)


def furnish_node() -> None:
    """Give the namespace of the calling process a node's addresses, routes and settings."""
    for name, value in _SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        for address in (NODE_ADDRESS, GATEWAY):
            ip.addr("add", index=1, address=address, prefixlen=32)
        # Services have no link. A route lets nftables see them: to translate them, or to refuse what is left.
        ip.route("add", dst=SERVICE_RANGE, oif=1, prefsrc=NODE_ADDRESS)


def add_pod(namespace: str, link: str, address: str) -> None:
    """Make a pod's namespace and join it to the node's, which must be that of the calling process."""
    netns.create(namespace)
    with IPRoute() as node, IPRoute(netns=namespace) as pod:
        node.link("add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
        index = node.link_lookup(ifname=link)[0]
        node.link("set", index=index, state="up")
        pod.link("set", index=1, state="up")
        eth0 = pod.link_lookup(ifname="eth0")[0]
        pod.link("set", index=eth0, state="up")
        pod.addr("add", index=eth0, address=address, prefixlen=32)
        pod.route("add", dst=f"{GATEWAY}/32", oif=eth0, scope="link")
        pod.route("add", dst="default", gateway=GATEWAY, oif=eth0)
        node.route("add", dst=f"{address}/32", oif=index, scope="link", prefsrc=NODE_ADDRESS)


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


def sweep(paths: LabPaths) -> None:
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
