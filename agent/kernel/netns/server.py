"""The network namespace helper's side: one request after the other, none of which can end it.

It parses no API object, holds no token, and leaves the network when it starts. It opens network namespaces of pods
below the kubelet's cgroup only. The node's it gives to nobody, except as a socket that lists and ends sockets, for
pods that are on the network of the node, and, with --node-network, as sockets for links and routes, and for headers of
frames between nodes.
"""

import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from agent.kernel import cgroups
from agent.kernel.netns.namespaces import (
    GENERIC,
    ROUTE,
    NetworkNamespace,
    frame_socket,
    leave_network,
    netlink_socket,
    network_namespaces,
    node_networks,
)
from agent.kernel.netns.protocol import (
    MOST_ADDRESSES,
    MOST_DESCRIPTORS,
    TIMEOUT,
    Look,
    Network,
    Open,
    Opened,
    OpenFrames,
    OpenNode,
    OpenSockets,
    ProtocolError,
    Query,
    Refused,
    Reply,
    Request,
    Seen,
    close,
    receive,
    send,
)
from agent.kernel.packet_filter import Ends, FrameClass, program

log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group
_WAITING = 64  # connections that the kernel keeps until they are accepted


class Server:
    """Answers requests about the pods below the cgroup `kubepods` of the kubelet.

    `node` is the /proc folder name of a process on the network of the node; in the lab this process is on it too.
    `node_network` is a descriptor of the node's namespace, for encryption; without it, `OpenNode` and `OpenFrames` are
    refused.
    """

    def __init__(self, kubepods: Path, node: str = "1", node_network: int | None = None) -> None:
        self._kubepods = kubepods
        self._node = node_networks(node)
        self._node_network = node_network

    def handle(self, connection: socket.socket) -> None:
        """Answer the request of one connection; nothing of another user's is read. Raises `OSError` where the other
        side does not wait for the reply.
        """
        if (user := _user(connection)) != os.geteuid():
            log.warning("a connection of user %d was closed", user)
            return
        connection.settimeout(TIMEOUT)
        descriptors: list[int] = []
        try:
            data, _ = receive(connection)
            reply, descriptors = self.answer(msgspec.json.decode(data, type=Request))
        except (ProtocolError, msgspec.MsgspecError, ValueError, OSError) as error:
            reply = Refused(str(error))
        except Exception as error:
            log.exception("a request could not be answered")
            reply = Refused(f"internal error: {type(error).__name__}")
        try:
            send(connection, reply, descriptors)
        finally:
            close(descriptors)

    def answer(self, request: Request) -> tuple[Reply, list[int]]:
        """The reply and its descriptors, which the caller closes. Raises `ValueError` for a folder that is not of a
        pod, and `OSError`.
        """
        match request:
            case Look(queries):
                # A pod that goes meanwhile has none; nor has one whose processes may not be looked at.
                seen: dict[str, Network] = {}
                for query in queries:
                    with suppress(OSError):
                        seen |= self._look(query)
                return Seen(seen, None not in self._node), []
            case Open(pod, inode):
                allowed = inode not in self._node
                return _opened(found for found in self._namespaces(pod) if allowed and found.inode == inode)
            case OpenSockets(pod, skip):
                return _opened(islice(self._namespaces(pod), skip, None), with_sockets=True)
            case OpenNode():
                return self._in_node(partial(netlink_socket, protocol=kind) for kind in (ROUTE, GENERIC))
            case OpenFrames(links, pods, own, nodes, ports):
                programs = [program(wanted, Ends(pods, own, nodes, ports)) for wanted in FrameClass]
                return self._in_node(partial(frame_socket, link=link, code=code) for link in links for code in programs)

    def _in_node(self, openers: Iterable[Callable[[int], int]]) -> tuple[Opened, list[int]]:
        """Sockets in the network namespace of the node. Raises `ValueError`, `OSError`; then none is left open."""
        if self._node_network is None:
            raise ValueError("this helper was started without --node-network")
        descriptors: list[int] = []
        try:
            descriptors.extend(open_in(self._node_network) for open_in in openers)
        except BaseException:
            close(descriptors)
            raise
        return Opened((os.fstat(self._node_network).st_ino,) * len(descriptors)), descriptors

    def _namespaces(self, pod: str) -> Iterable[NetworkNamespace]:
        return network_namespaces(cgroups.pod_folder(self._kubepods, pod))

    def _look(self, query: Query) -> dict[str, Network]:
        """The first network namespace of the pod that matches, if there is one. Raises `OSError`.

        The container runtime is in the cgroup before the sandbox, in the namespace of the node. Containers may have
        made namespaces of their own, which have other addresses.
        """
        for found in self._namespaces(query.pod):
            if found.inode not in self._node:
                addresses = found.addresses()
                if not query.having or not addresses.isdisjoint(query.having):
                    # Those that match come first: they are not cut off.
                    shown = sorted(addresses, key=lambda address: (address not in query.having, address))
                    return {query.pod: Network(found.inode, tuple(shown[:MOST_ADDRESSES]))}
        return {}


def _opened(namespaces: Iterable[NetworkNamespace], with_sockets: bool = False) -> tuple[Opened, list[int]]:
    """Descriptors of namespaces, or of sockets in them. Raises `OSError`; then none is left open."""
    inodes: list[int] = []
    descriptors: list[int] = []
    rest = iter(namespaces)
    try:
        for found in islice(rest, MOST_DESCRIPTORS):
            if (descriptor := found.open()) is not None:
                descriptors.append(_socket_in(descriptor) if with_sockets else descriptor)
                inodes.append(found.inode)
    except BaseException:
        close(descriptors)
        raise
    return Opened(tuple(inodes), next(rest, None) is not None), descriptors


def _socket_in(namespace: int) -> int:
    """A sock_diag socket in the namespace of this descriptor, which is closed."""
    try:
        return netlink_socket(namespace)
    finally:
        os.close(namespace)


def _user(connection: socket.socket) -> int:
    """The user of the process that connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)


def run(kubepods: Path, path: Path, node: str = "1", node_network: Path | None = None) -> None:
    """Answer requests at the Unix socket `path` until the process ends. `node_network` is a handle of the node's
    network namespace, where the agent may have sockets in it. Raises `OSError`.
    """
    server = Server(kubepods, node, os.open(node_network, os.O_RDONLY) if node_network else None)
    leave_network()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        os.umask(0o177)
        listener.bind(str(path))
        listener.listen(_WAITING)
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    server.handle(connection)
                except OSError as error:
                    log.warning("a reply was not sent: %s", error)
