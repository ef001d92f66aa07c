"""A plugin for pytest: machines that are there while the tests run, and a tap of the link between them."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import remote_node
from private_network import taps
from remote_node import Node

_ALL_FRAMES = 3  # ETH_P_ALL
_LARGEST_FRAME = 65536
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
        tap.bind((taps(1)[0], 0))
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


@pytest.fixture
def tapped() -> Tapped:
    """Frames on the link of the first node, both ways, while its context lasts."""
    return _tapped
