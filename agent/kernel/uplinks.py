"""The links by which frames reach other nodes."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from pyroute2 import IPRoute, NetlinkError

from agent.kernel.netlink import with_own_capabilities

# Kinds of devices that put packets into packets, but those that encrypt them.
OVERLAYS = frozenset(
    {"vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit", "vti", "vti6"}
)
_UP, _LOOPBACK = 1, 8  # linux/if.h
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL})


class Uplinks(NamedTuple):
    """Names of links, and the node's addresses: those of these links, and of any link those in the pods' ranges."""

    links: tuple[str, ...]
    own: tuple[str, ...]


def find_uplinks(descriptor: int, endpoints: Iterable[str], pods: Iterable[str]) -> Uplinks:
    """The uplinks of the network of a route netlink socket, which stays open: links with one of the node's addresses
    (`endpoints`), devices of hardware, and overlays. `pods` are the ranges of pods. Raises `OSError`, `NetlinkError`.
    """
    with closing(with_own_capabilities(IPRoute(fileno=os.dup(descriptor), groups=0))) as ip:
        addresses = [(found["index"], found.get_attr("IFA_ADDRESS")) for found in ip.get_addr()]
        links = {link["index"]: link for link in ip.get_links()}
    return choose(links, addresses, frozenset(endpoints), pods)


def reached_outside(descriptor: int, endpoints: Iterable[str], addresses: Iterable[str]) -> dict[str, str]:
    """Of the node's own pods' addresses those that the node does not reach by a link of its own: with the uplink, or
    empty without a route. Their packets do not pass its routing: macvlan, ipvlan, SR-IOV, a bridge with an uplink.
    Raises `OSError`, `NetlinkError`.
    """
    outer = set(find_uplinks(descriptor, endpoints, ()).links)
    found = {}
    with closing(with_own_capabilities(IPRoute(fileno=os.dup(descriptor), groups=0))) as ip:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
        for address in addresses:
            try:
                (route,) = ip.route("get", dst=address)
            except NetlinkError as error:
                if error.code not in _NO_ROUTE:
                    raise
                found[address] = ""
                continue
            link = names.get(route.get_attr("RTA_OIF"), "")
            if link in outer:
                found[address] = link
    return found


def choose(
    links: Mapping[int, Any], addresses: Iterable[tuple[int, str]], endpoints: frozenset[str], pods: Iterable[str]
) -> Uplinks:
    """The uplinks among netlink's links, which are by index. `addresses` have their link's index."""
    held = list(addresses)
    having = {index for index, address in held if address in endpoints}
    outer = {index: link for index, link in links.items() if not link["flags"] & _LOOPBACK}
    chosen = {index: link for index, link in outer.items() if index in having or _leads_out(link)}
    ranges = [ip_network(text) for text in pods]
    own = set(endpoints)
    for index, address in held:
        parsed = ip_address(address)
        if not parsed.is_link_local and (index in chosen or any(parsed in network for network in ranges)):
            own.add(address)
    return Uplinks(tuple(sorted(link.get_attr("IFLA_IFNAME") for link in chosen.values())), tuple(sorted(own)))


def _leads_out(link: Any) -> bool:
    """Whether it is a device of hardware, or an overlay."""
    about = link.get_attr("IFLA_LINKINFO")
    kind = about.get_attr("IFLA_INFO_KIND") if about else None
    return bool(link["flags"] & _UP) and (kind is None or kind in OVERLAYS)
