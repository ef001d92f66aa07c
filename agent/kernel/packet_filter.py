"""Classic BPF programs that pick frames between nodes by their headers (Documentation/networking/filter.rst).

They run on packet sockets without a link layer (packet(7), SOCK_DGRAM): offset 0 is the network header. A program
passes the header and the ports of a packet, and nothing of what it carries.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network
Networks = Sequence[Network]
# linux/bpf_common.h, linux/filter.h
_LD_WORD, _LD_HALF, _LD_BYTE, _LD_HALF_AT_X, _LD_MEM = 0x20, 0x28, 0x30, 0x48, 0x60
_LDX_HEADER, _ST, _AND, _ADD, _JA, _JEQ, _JSET, _RET, _RET_A, _TXA = (
    0xB1,
    0x02,
    0x54,
    0x04,
    0x05,
    0x15,
    0x45,
    6,
    22,
    0x87,
)
_PROTOCOL, _KIND = 0xFFFFF000, 0xFFFFF000 + 4
_INSTRUCTION = struct.Struct("=HBBI")
_ETH_P = {4: 0x0800, 6: 0x86DD}
# Where a program keeps the words of the source and of the destination, of its 16 words of memory.
_SOURCE, _DESTINATION = 0, 4


class FrameClass(StrEnum):
    """What a frame between nodes is."""

    PLAIN = "plain"
    """Its addresses are both of pods."""
    OUTSIDE = "outsideScope"
    """One address is of a pod, the other one of a node."""
    ENCRYPTED = "encrypted"
    """UDP between the ports of tunnels."""


class Ends(NamedTuple):
    """The addresses by which frames are told apart: ranges of pods, addresses of this node (among those of pods they
    come first), addresses of other nodes, and the UDP ports of tunnels.
    """

    pods: tuple[str, ...]
    own: tuple[str, ...]
    nodes: tuple[str, ...]
    ports: tuple[int, ...]


def program(wanted: FrameClass, ends: Ends) -> bytes:
    """The instructions (`struct sock_filter`) of the filter that passes frames of a class. Raises `ValueError` where a
    range or an address is none.
    """
    made = _Assembler()
    made.add(_LD_BYTE, _KIND)
    made.add(_JEQ, socket.PACKET_OTHERHOST, yes="refuse")
    made.add(_LD_WORD, _PROTOCOL)
    made.add(_JEQ, _ETH_P[4], no="not 4")
    _packet(made, 4, wanted, ends)
    made.label("not 4")
    made.add(_LD_WORD, _PROTOCOL)
    made.add(_JEQ, _ETH_P[6], no="refuse")
    _packet(made, 6, wanted, ends)
    made.label("refuse")
    made.add(_RET, 0)
    return made.assemble()


def _packet(made: "_Assembler", version: int, wanted: FrameClass, ends: Ends) -> None:
    """The instructions for packets of one version of IP. None continues behind them."""
    accept = f"accept {version}"
    if wanted is FrameClass.ENCRYPTED:
        _tunnel(made, version, ends.ports, accept)
    else:
        _load(made, version)
        pods, own, nodes = ([it for it in map(ip_network, texts) if it.version == version] for texts in ends[:3])
        between = _between_pods if wanted is FrameClass.PLAIN else _pod_and_node
        between(made, version, pods, own, nodes, accept)
    made.add(_JA, yes="refuse")
    made.label(accept)
    if version == 4:
        made.add(_LDX_HEADER, 0)
        made.add(_TXA)
        made.add(_ADD, 4)
        made.add(_RET_A)
    else:
        made.add(_RET, 44)


def _between_pods(made: "_Assembler", version: int, pods: Networks, own: Networks, _: Networks, accept: str) -> None:
    both = f"source {version}"
    made.where_in(own, _SOURCE, "refuse")
    made.where_in(pods, _SOURCE, both)
    made.add(_JA, yes="refuse")
    made.label(both)
    made.where_in(own, _DESTINATION, "refuse")
    made.where_in(pods, _DESTINATION, accept)


def _pod_and_node(
    made: "_Assembler", version: int, pods: Networks, own: Networks, nodes: Networks, accept: str
) -> None:
    from_own, from_pod, check = f"own {version}", f"pod {version}", f"check {version}"
    made.where_in(own, _SOURCE, from_own)
    made.where_in(pods, _SOURCE, from_pod)
    made.where_in(own, _DESTINATION, "refuse")
    made.where_in(pods, _DESTINATION, check)
    made.add(_JA, yes="refuse")
    made.label(from_own)
    made.where_in(own, _DESTINATION, "refuse")
    made.where_in(pods, _DESTINATION, accept)
    made.add(_JA, yes="refuse")
    # The end that is no pod's is where the source was then.
    made.label(from_pod)
    for word in range(_words(version)):
        made.add(_LD_MEM, _DESTINATION + word)
        made.add(_ST, _SOURCE + word)
    made.label(check)
    made.where_in([*own, *nodes], _SOURCE, accept)


def _tunnel(made: "_Assembler", version: int, ports: Sequence[int], accept: str) -> None:
    made.add(_LD_BYTE, 9 if version == 4 else 6)
    made.add(_JEQ, socket.IPPROTO_UDP, no="refuse")
    if version == 4:
        made.add(_LD_HALF, 6)
        made.add(_JSET, 0x1FFF, yes="refuse")  # a later fragment has no ports
        made.add(_LDX_HEADER, 0)
    source, destination = ((_LD_HALF_AT_X, 0), (_LD_HALF_AT_X, 2)) if version == 4 else ((_LD_HALF, 40), (_LD_HALF, 42))
    made.add(*source)
    for port in ports:
        made.add(_JEQ, port, yes=f"port {version}")
    made.add(_JA, yes="refuse")
    made.label(f"port {version}")
    made.add(*destination)
    for port in ports:
        made.add(_JEQ, port, yes=accept)


def _words(version: int) -> int:
    return 1 if version == 4 else 4


def _load(made: "_Assembler", version: int) -> None:
    """Both addresses, into the program's memory."""
    count, first = (_words(version), 12) if version == 4 else (_words(version), 8)
    for at, start in ((_SOURCE, first), (_DESTINATION, first + 4 * count)):
        for word in range(count):
            made.add(_LD_WORD, start + 4 * word)
            made.add(_ST, at + word)


def _parts(network: Network) -> Iterator[tuple[int, int, int]]:
    """Each word of an address that a range says something of: its index, mask, and value under the mask."""
    count = _words(network.version)
    address, mask = int(network.network_address), int(network.netmask)
    for word in range(count):
        shift = 32 * (count - 1 - word)
        if part := mask >> shift & 0xFFFFFFFF:
            yield word, part, address >> shift & 0xFFFFFFFF


class _Assembler:
    """Instructions with jumps to labels. A conditional jump reaches 255 instructions, so it is a short one over a jump
    that reaches any.
    """

    def __init__(self) -> None:
        self._made: list[tuple[int, int, int, int, str]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """The next instruction is where jumps to `name` lead."""
        self._labels[name] = len(self._made)

    def add(self, operation: int, operand: int = 0, yes: str = "", no: str = "") -> None:
        """An instruction. A jump has a label: of where it leads, for a condition that holds or that does not."""
        if not yes and not no:
            self._made.append((operation, 0, 0, operand, ""))
            return
        if operation != _JA:
            self._made.append((operation, *((0, 1) if yes else (1, 0)), operand, ""))
        self._made.append((_JA, 0, 0, 0, yes or no))

    def where_in(self, networks: Iterable[Network], at: int, label: str) -> None:
        """Jump if the address at that word of the memory is in one of the ranges."""
        for network in networks:
            after = f"after {len(self._made)}"
            for word, mask, value in _parts(network):
                self.add(_LD_MEM, at + word)
                if mask != 0xFFFFFFFF:
                    self.add(_AND, mask)
                self.add(_JEQ, value, no=after)
            self.add(_JA, yes=label)
            self.label(after)

    def assemble(self) -> bytes:
        """The instructions."""
        return b"".join(
            _INSTRUCTION.pack(operation, yes, no, self._labels[label] - position - 1 if label else operand)
            for position, (operation, yes, no, operand, label) in enumerate(self._made)
        )
