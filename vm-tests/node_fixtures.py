"""A plugin for pytest: machines that are there while the tests run, and a tap of the bridge between them."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import remote_node
from private_network import BRIDGES
from remote_node import Node

_ALL_FRAMES = 3  # ETH_P_ALL
_LARGEST_FRAME = 65536
_BUFFER_BYTES = 64 << 20
_FORCED_BUFFER = 33  # SO_RCVBUFFORCE
_PACKET, _STATISTICS = 263, 6  # SOL_PACKET, PACKET_STATISTICS: frames, and those that were dropped
Tapped = Callable[[], AbstractContextManager[list[bytes]]]


@pytest.fixture(scope="session")
def nodes() -> list[Node]:
    """The machines, with addresses on their link."""
    found = remote_node.nodes(os.environ[remote_node.KERNELS])
    for node in found:
        node.join()
    return found


@contextmanager
def _tapped() -> Iterator[list[bytes]]:
    frames: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER_BYTES)
        tap.bind((BRIDGES[0], 0))
        tap.settimeout(0.2)
        ended = threading.Event()

        def read() -> None:
            while True:
                try:
                    frames.append(tap.recv(_LARGEST_FRAME))
                except TimeoutError:
                    if ended.is_set():
                        return

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield frames
        finally:
            ended.set()
            reader.join()
        _, dropped = struct.unpack("II", tap.getsockopt(_PACKET, _STATISTICS, 8))
        assert not dropped, f"the tap dropped {dropped} frames"


@pytest.fixture
def tapped() -> Tapped:
    """Frames between any nodes while its context lasts. Raises `AssertionError` where one was missed."""
    return _tapped
