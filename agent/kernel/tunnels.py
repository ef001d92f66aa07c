"""Devices, routes and rules of encryption, by netlink in the network namespace of the node.

Not to be called in an event loop: pyroute2's synchronous sockets run one of their own.
"""

import errno
import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from socket import AF_INET, AF_INET6, AF_UNSPEC, socket
from typing import Any

from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_PROHIBIT, FR_ACT_TO_TBL

from agent.encryption.values import (
    DEVICES,
    PROTOCOL,
    TABLE,
    Device,
    Observed,
    Plan,
    Route,
    Rule,
    device_of,
    port_of,
)
from agent.ir.addresses import Addresses, Family, family_of
from agent.kernel.netlink import with_own_capabilities
from agent.kernel.netns.client import NetnsClient
from agent.kernel.uplinks import reached_outside
from agent.kernel.wireguard import KIND, Crypto, KernelWireGuard

_AF = {Family.IPV4: AF_INET, Family.IPV6: AF_INET6}
_IFF_UP = 1
_ALIAS = re.compile(r"weft key generation ([1-9][0-9]{0,6})")
_RTN_UNICAST, _LINK = 1, 253  # linux/rtnetlink.h
_ADDRESS = "169.254.117.1"  # of every device; no packet has it
# A route into a device goes before one that refuses packets to the same range.
_INTO, _REFUSE = 1, 2
# linux/if_link.h, linux/ip.h, Documentation/networking/ip-sysctl.rst
_IFLA_AF_SPEC, _IFLA_INET_CONF, _RP_FILTER, _LOOSE = 26, 1, 8, 2
_ABSENT = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH})


class UnsupportedError(Exception):
    """The kernel has no WireGuard."""


@contextmanager
def node_network(helper: NetnsClient) -> Iterator["TunnelNetwork"]:
    """The network of the node, by sockets of the network namespace helper. Raises `NetnsError`."""
    descriptors = helper.node_sockets()
    try:
        route, generic = descriptors
        yield TunnelNetwork(route, KernelWireGuard(generic))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def remove_tunnels() -> None:
    """Remove all of it from the network namespace of this process. Raises `OSError`, `NetlinkError`."""
    with IPRoute() as ip:
        for rule in sorted(_rules(ip), key=_order, reverse=True):
            _rule(ip, "del", rule)
        for route in list(_routes(ip, {})):
            _remove_route(ip, route)
        for name in DEVICES:
            _remove_link(ip, name)


class TunnelNetwork:
    """The node's network, by a route netlink socket that stays open: each use takes a copy. `kind` is the devices'."""

    def __init__(self, descriptor: int, crypto: Crypto, kind: str = KIND) -> None:
        self._descriptor = descriptor
        self._crypto = crypto
        self._kind = kind

    def observe(self, endpoints: Addresses) -> Observed:
        """What of weft is there. `endpoints` are the node's addresses. Raises `OSError`, `NetlinkError`."""
        with self._open() as ip:
            links = {name: link for name in DEVICES if (link := _link(ip, name)) is not None}
            indices = {link["index"]: name for name, link in links.items()}
            devices = dict(self._devices(links))
            return Observed(devices, frozenset(_routes(ip, indices)), frozenset(_rules(ip)), _uplink(ip, endpoints))

    def _devices(self, links: dict[str, Any]) -> Iterator[tuple[int, Device]]:
        for name, link in links.items():
            named = _ALIAS.fullmatch(link.get_attr("IFLA_IFALIAS") or "")
            if named and device_of(int(named[1])) == name and link["flags"] & _IFF_UP:
                public_key, peers = self._crypto.read(name)
                yield int(named[1]), Device(int(named[1]), public_key, link.get_attr("IFLA_MTU"), peers)

    def reached_outside(self, endpoints: Addresses, addresses: Iterable[str]) -> dict[str, str]:
        """See `uplinks.reached_outside`."""
        return reached_outside(self._descriptor, endpoints, addresses)

    def apply(self, plan: Plan, observed: Observed) -> None:
        """Bring the kernel in step. What refuses packets and the rules come first, and go last. Raises
        `UnsupportedError` at the end where only devices are missing; `OSError`, `NetlinkError`.
        """
        with self._open() as ip:
            for route in sorted(plan.routes - observed.routes):
                if not route.device:
                    _replace_route(ip, route)
            for rule in sorted(plan.rules - observed.rules, key=_order):
                _rule(ip, "add", rule)
            try:
                self._apply_devices(ip, plan, observed)
            finally:
                self._remove(ip, plan, observed)

    def _apply_devices(self, ip: IPRoute, plan: Plan, observed: Observed) -> None:
        """Devices, their peers, then the routes into them."""
        for generation, peers in plan.devices.items():
            device = observed.devices.get(generation)
            if device is None:
                self._make(ip, generation, plan.mtu)
            elif plan.mtu and device.mtu != plan.mtu:
                ip.link("set", ifname=device_of(generation), mtu=plan.mtu)
            known = {key: state.peer for key, state in device.peers.items()} if device else {}
            for key, peer in peers.items():
                if known.get(key) != peer:
                    self._crypto.put(device_of(generation), peer)
        for route in sorted(plan.routes - observed.routes):
            if route.device:
                _replace_route(ip, route)

    def _make(self, ip: IPRoute, generation: int, mtu: int) -> None:
        """A device with a new key. The alias comes last: without one, the device is not complete."""
        name = device_of(generation)
        _remove_link(ip, name)
        try:
            ip.link("add", ifname=name, kind=self._kind, **({"mtu": mtu} if mtu else {}))
        except NetlinkError as error:
            if error.code in (errno.EOPNOTSUPP, errno.ENOENT):
                raise UnsupportedError("the kernel has no WireGuard") from error
            raise
        self._crypto.furnish(name, port_of(generation))
        index = ip.link_lookup(ifname=name)[0]
        ip.link("set", index=index, state="up")
        # Loose means loose only where the link has an address (fib_validate_source).
        ip.addr("add", index=index, address=_ADDRESS, prefixlen=32, scope=_LINK)
        _accept_other_ways(self._descriptor, index)
        ip.link("set", index=index, ifalias=f"weft key generation {generation}")

    def _remove(self, ip: IPRoute, plan: Plan, observed: Observed) -> None:
        """What should not be there: rules in the reverse order."""
        for rule in sorted(observed.rules - plan.rules, key=_order, reverse=True):
            _rule(ip, "del", rule)
        replaced = {route.to for route in plan.routes - observed.routes if route.device}
        for route in observed.routes - plan.routes:
            if not (route.device and route.to in replaced):
                _remove_route(ip, route)
        for generation, device in observed.devices.items():
            if generation not in plan.devices:
                _remove_link(ip, device_of(generation))
                continue
            for key in device.peers.keys() - plan.devices[generation].keys():
                self._crypto.remove(device_of(generation), key)

    @contextmanager
    def _open(self) -> Iterator[IPRoute]:
        with closing(IPRoute(fileno=os.dup(self._descriptor), groups=0)) as ip:
            yield with_own_capabilities(ip)


def _order(rule: Rule) -> tuple[bool, Rule]:
    """The order in which rules are added: the one that others jump to first, as a jump to nowhere does nothing."""
    return bool(rule.goto or rule.table or rule.refuse), rule


def _link(ip: IPRoute, name: str) -> Any:
    indices = ip.link_lookup(ifname=name)
    return ip.get_links(indices[0])[0] if indices else None


def _remove_link(ip: IPRoute, name: str) -> None:
    for index in ip.link_lookup(ifname=name):
        with _absent():
            ip.link("del", index=index)


def _uplink(ip: IPRoute, endpoints: Addresses) -> int:
    """The least MTU of the links that have these addresses."""
    indices = {found["index"] for address in endpoints for found in ip.get_addr(address=address)}
    return min((ip.get_links(index)[0].get_attr("IFLA_MTU") for index in indices), default=0)


def _routes(ip: IPRoute, indices: dict[int, str]) -> Iterator[Route]:
    for family in _AF.values():
        for found in ip.get_routes(family=family, table=TABLE):
            to = f"{found.get_attr('RTA_DST') or ('::' if family == AF_INET6 else '0.0.0.0')}/{found['dst_len']}"
            into = found["type"] == _RTN_UNICAST
            yield Route(to, indices.get(found.get_attr("RTA_OIF"), "?") if into else "")


def _replace_route(ip: IPRoute, route: Route) -> None:
    spec = _route_spec(route)
    if route.device:
        spec["oif"] = ip.link_lookup(ifname=route.device)[0]
    ip.route("replace", proto=PROTOCOL, **spec)


def _remove_route(ip: IPRoute, route: Route) -> None:
    with _absent():
        ip.route("del", **_route_spec(route))


def _route_spec(route: Route) -> dict[str, Any]:
    spec = {"family": _AF[family_of(route.to)], "dst": route.to, "table": TABLE}
    return spec | ({"priority": _INTO} if route.device else {"priority": _REFUSE, "type": "prohibit"})


def _rules(ip: IPRoute) -> Iterator[Rule]:
    for family, number in _AF.items():
        for found in ip.get_rules(family=number):
            if found.get_attr("FRA_PROTOCOL") == PROTOCOL:
                yield Rule(
                    family,
                    found.get_attr("FRA_PRIORITY") or 0,
                    _range(found, "FRA_SRC", "src_len"),
                    _range(found, "FRA_DST", "dst_len"),
                    found.get_attr("FRA_IIFNAME") or "",
                    found.get_attr("FRA_GOTO") or 0,
                    (found.get_attr("FRA_TABLE") or 0) if found["action"] == FR_ACT_TO_TBL else 0,
                    found["action"] == FR_ACT_PROHIBIT,
                )


def _range(found: Any, attribute: str, length: str) -> str:
    address = found.get_attr(attribute)
    return f"{address}/{found[length]}" if address else ""


def _rule(ip: IPRoute, command: str, rule: Rule) -> None:
    spec: dict[str, Any] = {"family": _AF[rule.family], "priority": rule.priority, "protocol": PROTOCOL}
    for name, value in (("src", rule.source), ("dst", rule.destination)):
        if value:
            spec[name], _, length = value.partition("/")
            spec[f"{name}_len"] = int(length)
    if rule.interface:
        spec["iifname"] = rule.interface
    if rule.goto:
        spec |= {"action": FR_ACT_GOTO, "goto": rule.goto}
    elif rule.table:
        spec |= {"action": FR_ACT_TO_TBL, "table": rule.table}
    else:
        spec["action"] = FR_ACT_PROHIBIT if rule.refuse else FR_ACT_NOP
    with _absent():
        ip.rule(command, **spec)


def _accept_other_ways(descriptor: int, index: int) -> None:
    """Make rp_filter loose: while keys are replaced, packets come from nodes that this node sends to by another device.
    pyroute2 does not write the IPv4 settings of a link. Raises `OSError`.
    """
    setting = struct.pack("=HHI", 8, _RP_FILTER, _LOOSE)
    inner = struct.pack("=HH", 4 + len(setting), _IFLA_INET_CONF) + setting
    family = struct.pack("=HH", 4 + len(inner), AF_INET) + inner
    body = (
        struct.pack("=BxHiII", AF_UNSPEC, 0, index, 0, 0) + struct.pack("=HH", 4 + len(family), _IFLA_AF_SPEC) + family
    )
    head = struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    with socket(fileno=os.dup(descriptor)) as netlink:
        netlink.sendto(head + body, (0, 0))
        (code,) = struct.unpack_from("=i", netlink.recv(4096), 16)  # struct nlmsgerr
    if code:
        raise OSError(-code, f"rp_filter of device {index}: {os.strerror(-code)}")


@contextmanager
def _absent() -> Iterator[None]:
    """Absence is success."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in _ABSENT:
            raise
