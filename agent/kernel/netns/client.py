"""The agent's side of the network namespace helper. Each request is a connection of its own, so a helper that starts
again is used with the next request.
"""

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.kernel.netns.protocol import (
    MOST_ADDRESSES,
    MOST_DESCRIPTORS,
    MOST_PODS,
    TIMEOUT,
    Look,
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
from agent.kernel.packet_filter import Ends, FrameClass

log = logging.getLogger(__name__)
R = TypeVar("R", Seen, Opened)


class NetnsError(OSError):
    """The helper does not answer. The message says why."""


class RefusedError(NetnsError):
    """The helper refused a request. The message says why."""


def query(kubepods: Path, folder: Path, having: Iterable[str] = ()) -> Query:
    """A query about the pod with this cgroup folder, below that of the kubelet."""
    return Query(str(folder.relative_to(kubepods)), tuple(islice(having, MOST_ADDRESSES)))


class NetnsClient:
    """Requests to the helper at a Unix socket, from any thread. Failures are `NetnsError`, of which
    `RefusedError` is about one request.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.error = ""
        """Why the helper did not answer the latest request; empty when it did."""

    def look(self, queries: Iterable[Query]) -> Seen:
        """The network namespaces of pods."""
        rest, found = iter(queries), Seen({}, True)
        while some := tuple(islice(rest, MOST_PODS)):
            seen, _ = self._request(Look(some), Seen)
            found = Seen(found.networks | seen.networks, found.knows_node and seen.knows_node)
        return found

    @contextmanager
    def open(self, pod: str, namespace: int) -> Iterator[int | None]:
        """A descriptor of a network namespace of a pod; None where the pod has left it. Closed at the end."""
        _, descriptors = self._request(Open(pod, namespace), Opened)
        try:
            yield descriptors[0] if descriptors else None
        finally:
            close(descriptors)

    def sockets(self, pod: str) -> Iterator[tuple[int, int]]:
        """Each network namespace of a pod: its inode number, and a sock_diag socket in it, which the caller closes."""
        skip, more = 0, True
        while more:
            opened, descriptors = self._request(OpenSockets(pod, skip), Opened)
            yield from zip(opened.namespaces, descriptors, strict=True)
            skip, more = skip + MOST_DESCRIPTORS, opened.more

    def node_sockets(self) -> tuple[int, int]:
        """A route and a generic netlink socket in the network namespace of the node, which the caller closes."""
        _, (route, generic) = self._request(OpenNode(), Opened)
        return route, generic

    def frame_sockets(self, links: Sequence[str], ends: Ends) -> dict[str, dict[FrameClass, int]]:
        """Packet sockets at links of the node, by link and by what they are for, which the caller closes."""
        _, opened = self._request(OpenFrames(tuple(links), *ends), Opened)
        found = iter(opened)
        return {link: {wanted: next(found) for wanted in FrameClass} for link in links}

    def _request(self, request: Request, kind: type[R]) -> tuple[R, list[int]]:
        try:
            reply, descriptors = self._exchange(request)
        except (OSError, ProtocolError, msgspec.MsgspecError) as error:
            self._note(f"the network namespace helper does not answer at {self._path}: {error}")
            raise NetnsError(self.error) from error
        self._note("")
        if isinstance(reply, kind):
            return reply, descriptors
        close(descriptors)
        reason = reply.reason if isinstance(reply, Refused) else f"unexpected {type(reply).__name__}"
        raise RefusedError(f"the network namespace helper refused a request: {reason}")

    def _exchange(self, request: Request) -> tuple[Reply, list[int]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(os.fspath(self._path))
            send(connection, request, [])
            data, descriptors = receive(connection, MOST_DESCRIPTORS)
        try:
            reply = msgspec.json.decode(data, type=Reply)
            if len(descriptors) != (len(reply.namespaces) if isinstance(reply, Opened) else 0):
                raise ProtocolError(f"a reply with {len(descriptors)} descriptors")
        except BaseException:
            close(descriptors)
            raise
        return reply, descriptors

    def _note(self, error: str) -> None:
        if error and not self.error:
            log.warning("network namespaces cannot be opened, trying again", extra={"error": error})
        elif self.error and not error:
            log.info("network namespaces can be opened again")
        self.error = error
