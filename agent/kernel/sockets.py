"""Connected sockets whose destination the programs rewrote, connections that servers accepted, and how to terminate
both: sock_diag(7).

The state of a TCP socket is in its storage, and a listing that names the map includes it
(INET_DIAG_REQ_SK_BPF_STORAGES, kernel 5.7). A listing of UDP sockets does not (inet_sk_diag_fill returns early, still
in 6.18): they are found by their cookies in `weft_udp_choices`. A `SocketList` belongs to the network namespace in
which it was opened.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from errno import ENOENT
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, ClassVar

from pyroute2.netlink import NETLINK_SOCK_DIAG, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR, nla
from pyroute2.netlink.diag import SOCK_DESTROY, SOCK_DIAG_BY_FAMILY, SS_CONN, inet_diag_msg, inet_diag_req
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import Marshal, NetlinkSocket

from agent.ir.tables import AffinityEntry, Protocol, SocketAddress, UdpTarget, address_bytes
from agent.kernel import abi

_LISTENING = 1 << 10  # TCP_LISTEN
_STORAGES = "INET_DIAG_SK_BPF_STORAGES"
# SK_BPF_STORAGES, in it SK_BPF_STORAGE, in it MAP_ID, and MAP_VALUE with this header (linux/sock_diag.h).
_VALUE_OFFSET = struct.calcsize("=HHHHIHH")


class _Marshal(Marshal):  # type: ignore[misc]
    """Parses answers by message type. The marshal of pyroute2 goes by address family, and cannot parse an error."""

    key_format, key_offset = "H", 4
    error_type = NLMSG_ERROR
    msg_map: ClassVar = {SOCK_DIAG_BY_FAMILY: inet_diag_msg}


class SocketList(NetlinkSocket):  # type: ignore[misc]
    """A netlink socket that lists sockets of IPv4 and IPv6; failures are `NetlinkError`.

    `descriptor` is an open sock_diag socket, which this one closes. To list sockets needs no privilege; their storage
    needs CAP_BPF, and to destroy them CAP_NET_ADMIN, both of the process that requests it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        super().__init__(NETLINK_SOCK_DIAG, fileno=descriptor)
        self.set_marshal(_Marshal())


class _Maps(nla):  # type: ignore[misc]
    """The maps whose storage a listing includes, by descriptor."""

    nla_map = (("SK_DIAG_BPF_STORAGE_REQ_NONE", "none"), ("SK_DIAG_BPF_STORAGE_REQ_MAP_FD", "uint32"))


class _Request(inet_diag_req):  # type: ignore[misc]
    """A request that can include storage."""

    nla_map = (
        ("INET_DIAG_REQ_NONE", "none"),
        ("INET_DIAG_REQ_BYTECODE", "hex"),
        ("INET_DIAG_REQ_SK_BPF_STORAGES", "maps"),
    )
    maps = _Maps


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A connected socket: the destination that its owner dialled, and its backend."""

    protocol: Protocol
    original: SocketAddress
    backend: SocketAddress
    listed: Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """A TCP connection that a server accepted: the server's address and port, and the client's address."""

    server: SocketAddress
    client: bytes
    listed: Any
    protocol: ClassVar = Protocol.TCP


def accepted_tcp(diag: SocketList) -> Iterator[Accepted]:
    """TCP connections at ports that a socket listens on. The kernel gives no client of this namespace such a port."""
    ports = {listed["idiag_sport"] for listed in _listed(diag, Protocol.TCP, _LISTENING)}
    for listed in _listed(diag, Protocol.TCP, SS_CONN):
        if listed["idiag_sport"] in ports:
            server = address_bytes(listed["idiag_src"]), listed["idiag_sport"]
            yield Accepted(server, address_bytes(listed["idiag_dst"]), listed)


def rewritten_tcp(diag: SocketList, storage: int) -> Iterator[Rewritten]:
    """TCP sockets with state; `storage` is a descriptor of `weft_sockets`."""
    for listed in _listed(diag, Protocol.TCP, SS_CONN, storage):
        shown = listed.get_attr(_STORAGES)
        if shown is not None:
            value = bytes.fromhex(shown.replace(":", ""))[_VALUE_OFFSET:][: abi.SOCKET.size]
            original, backend, original_port, backend_port, *_ = abi.SOCKET.unpack(value)
            yield Rewritten(Protocol.TCP, (original, original_port), (backend, backend_port), listed)


def rewritten_udp(diag: SocketList, choices: Mapping[UdpTarget, AffinityEntry]) -> Iterator[Rewritten]:
    """Connected UDP sockets whose peer is a backend in their entries; several frontends can have the same backend."""
    frontends: dict[tuple[int, SocketAddress], list[SocketAddress]] = defaultdict(list)
    for target, kept in choices.items():
        frontends[target.cookie, (kept.address, kept.port)].append((target.address, target.port))
    for listed in _listed(diag, Protocol.UDP, SS_CONN):
        backend = address_bytes(listed["idiag_dst"]), listed["idiag_dport"]
        for original in frontends.get((listed["idiag_cookie"], backend), ()):
            yield Rewritten(Protocol.UDP, original, backend, listed)


def _listed(diag: SocketList, protocol: Protocol, states: int, storage: int | None = None) -> Iterable[Any]:
    for family in (AF_INET, AF_INET6):
        request = _Request()
        request["sdiag_family"], request["sdiag_protocol"], request["idiag_states"] = family, protocol, states
        if storage is not None:
            maps = {"attrs": [("SK_DIAG_BPF_STORAGE_REQ_MAP_FD", storage)]}
            request["attrs"] = [("INET_DIAG_REQ_SK_BPF_STORAGES", maps)]
        yield from diag.nlm_request(request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP)


def destroy(diag: SocketList, found: Rewritten | Accepted) -> bool:
    """Terminate a socket: calls of its owner fail with ECONNABORTED. False if it was closed. Raises `OSError`."""
    request = inet_diag_req()
    request["sdiag_family"], request["sdiag_protocol"] = found.listed["idiag_family"], found.protocol
    for name in ("idiag_sport", "idiag_dport", "idiag_if", "idiag_cookie"):
        request[name] = found.listed[name]
    for name in ("idiag_src", "idiag_dst"):
        request[name] = _words(inet_pton(found.listed["idiag_family"], found.listed[name]))
    try:
        list(diag.nlm_request(request, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK))
    except NetlinkError as error:
        if error.code == ENOENT:
            return False
        raise OSError(error.code, f"SOCK_DESTROY: {error}") from error
    return True


def _words(address: bytes) -> tuple[int, ...]:
    """An address as sock_diag expects it: IPv4 in the first of four 32-bit words."""
    return struct.unpack("!4I", address.ljust(16, b"\0"))
