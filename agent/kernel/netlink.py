"""pyroute2's sockets, on netlink sockets that another process opened."""

from typing import TypeVar

from pyroute2.netlink.nlsocket import SyncAPI

S = TypeVar("S", bound=SyncAPI)


def with_own_capabilities(opened: S) -> S:
    """Name the kernel as the receiver of each message. Of one without an address the kernel requires that the process
    that opened the socket has NET_ADMIN too (`__netlink_ns_capable`, Linux 3.15), and the helper has not.
    """
    core = opened.asyncore
    core.send = lambda data, flags=0: core.socket.sendto(data, flags, (0, 0))
    return opened
