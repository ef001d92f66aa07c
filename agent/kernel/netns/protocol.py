"""What the agent and the network namespace helper say to each other over a Unix stream socket.

One request for each connection: the agent sends a request and shuts its side down; the helper sends one reply and
closes. Both are JSON. The descriptors of `Opened` come with its first byte (SCM_RIGHTS, unix(7)).
"""

import os
import socket
from typing import Annotated

import msgspec
from msgspec import Meta

# Seconds that either side waits for the other.
TIMEOUT = 5.0
# The kernel passes at most 253 descriptors with a message (SCM_MAX_FD).
MOST_DESCRIPTORS = 128
MOST_PODS = 64
MOST_ADDRESSES = 64
MOST_BYTES = 1 << 20
# A request for frames; a filter has to fit into the kernel's memory for options of a socket (net.core.optmem_max).
MOST_LINKS, MOST_RANGES, MOST_OWN, MOST_NODES = 32, 32, 16, 48
_CHUNK = 1 << 16

PodName = Annotated[str, Meta(min_length=1, max_length=512)]
"""The folder of a pod's cgroup, relative to that of the kubelet: `burstable/pod<uid>`."""
Addresses = Annotated[tuple[Annotated[str, Meta(max_length=45)], ...], Meta(max_length=MOST_ADDRESSES)]

LinkName = Annotated[str, Meta(min_length=1, max_length=15)]
Range = Annotated[str, Meta(max_length=49)]


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pod, and addresses of which its network namespace must have one; none: any namespace will do."""

    pod: PodName
    having: Addresses = ()


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="look"):
    """Find the network namespaces of these pods. The reply is `Seen`."""

    queries: Annotated[tuple[Query, ...], Meta(max_length=MOST_PODS)]


class Open(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="open"):
    """Open the network namespace with this inode number, if a process of the pod is in it and it is not the node's.
    The reply is `Opened`, with a descriptor of the namespace or with none.
    """

    pod: PodName
    namespace: int


class OpenSockets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sockets"):
    """Open a sock_diag(7) socket in each network namespace of the pod, also in the node's if a process of the pod is
    there, without the first `skip` namespaces. The reply is `Opened`.
    """

    pod: PodName
    skip: Annotated[int, Meta(ge=0)] = 0


class OpenNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="node"):
    """Open a route and a generic netlink socket in the network namespace of the node, if the helper was started for
    that. The reply is `Opened`.
    """


class OpenFrames(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="frames"):
    """Open packet(7) sockets at links of the node, if the helper was started with `--node-network`: for each link one
    of each `FrameClass`, in their order. The other fields are those of `Ends`. A socket gives the headers of the frames
    that it is for, and no more: its filter is locked. The reply is `Opened`.
    """

    links: Annotated[tuple[LinkName, ...], Meta(max_length=MOST_LINKS)]
    pods: Annotated[tuple[Range, ...], Meta(max_length=MOST_RANGES)]
    own: Annotated[tuple[Range, ...], Meta(max_length=MOST_OWN)]
    nodes: Annotated[tuple[Range, ...], Meta(max_length=MOST_NODES)]
    ports: Annotated[tuple[int, ...], Meta(max_length=2)]


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network namespace: its inode number, and its first `MOST_ADDRESSES` addresses that are not local to it."""

    namespace: int
    addresses: Addresses


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="seen"):
    """The first network namespace of each pod that is not the node's and matches; pods without one are left out.

    Without `knows_node` the node's namespace cannot be read, and one of these may be it.
    """

    networks: dict[str, Network]
    knows_node: bool


class Opened(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="opened"):
    """Descriptors, and the inode number of the namespace of each. With `more`, there are more than the
    `MOST_DESCRIPTORS` namespaces of this reply.
    """

    namespaces: tuple[int, ...]
    more: bool = False


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """The helper did not do it; `reason` says why."""

    reason: str


Request = Look | Open | OpenSockets | OpenNode | OpenFrames
Reply = Seen | Opened | Refused


class ProtocolError(Exception):
    """The other side did not follow the protocol. The message says how."""


def send(connection: socket.socket, message: Request | Reply, descriptors: list[int]) -> None:
    """Send a message, the only one in this direction. Raises `OSError`."""
    encoded = msgspec.json.encode(message)
    sent = socket.send_fds(connection, [encoded], descriptors)
    connection.sendall(encoded[sent:])
    connection.shutdown(socket.SHUT_WR)


def receive(connection: socket.socket, most_descriptors: int = 0) -> tuple[bytes, list[int]]:
    """The message of the other side and its descriptors, which the caller closes. Raises `OSError` and
    `ProtocolError`; then the descriptors are closed.
    """
    data, descriptors, _, _ = socket.recv_fds(connection, _CHUNK, most_descriptors)
    try:
        part = data
        while part:
            if len(data) > MOST_BYTES:
                raise ProtocolError(f"a message has more than {MOST_BYTES} bytes")
            part = connection.recv(_CHUNK)
            data += part
    except BaseException:
        close(descriptors)
        raise
    return data, descriptors


def close(descriptors: list[int]) -> None:
    """Close all of these descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)
