"""Counts of frames between nodes, by packet sockets that the network namespace helper opened (packet(7))."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from agent.kernel.netns.client import NetnsClient
from agent.kernel.packet_filter import Ends, FrameClass

_SOL_PACKET, _STATISTICS, _COUNTS = 263, 6, struct.Struct("=II")  # linux/if_packet.h
_LARGEST_HEADER = 64


class Tap:
    """The sockets at a link, by what they are for. The kernel counts; only headers of plain frames are read."""

    def __init__(self, link: str, sockets: Mapping[FrameClass, socket.socket]) -> None:
        self.link = link
        self._sockets = sockets
        self._counted = dict.fromkeys(FrameClass, 0)
        self.error = ""
        """Why the link cannot be listened to any more: it is down, or gone."""

    def headers(self, most: int) -> Iterator[tuple[bool, bytes]]:
        """Up to so many headers of plain frames that wait, each with whether the node sent it."""
        for _ in range(most):
            try:
                header, sender = self._sockets[FrameClass.PLAIN].recvfrom(_LARGEST_HEADER)
            except BlockingIOError:
                return
            except OSError as error:
                self.error = os.strerror(error.errno or 0)
                return
            yield sender[2] == socket.PACKET_OUTGOING, header

    def counts(self) -> dict[FrameClass, int]:
        """The frames so far, those whose headers did not wait too. The kernel's numbers have 32 bits, and begin again
        with each look: look more often than frames can be so many.
        """
        for wanted, found in self._sockets.items():
            self._counted[wanted] += _COUNTS.unpack(found.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTS.size))[0]
        return dict(self._counted)


@contextmanager
def tapped(helper: NetnsClient, links: Sequence[str], ends: Ends) -> Iterator[list[Tap]]:
    """Taps at links of the node. Raises `NetnsError`."""
    with ExitStack() as stack:
        taps = []
        for link, descriptors in helper.frame_sockets(links, ends).items():
            sockets = {wanted: stack.enter_context(socket.socket(fileno=it)) for wanted, it in descriptors.items()}
            for made in sockets.values():
                made.setblocking(False)
            taps.append(Tap(link, sockets))
        yield taps
