"""A network namespace helper, for the pods of a cgroup."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from agent.kernel.netns.client import NetnsClient

PATIENCE = 30
RUN = """
import sys
from pathlib import Path
from agent.kernel.netns.server import run
from agent.kernel.parent import die_with_parent
die_with_parent()
run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]) if sys.argv[4] else None)
"""


class NetnsHelper:
    """The process, which answers when this returns. `node` is the /proc folder name of a process on the network of the
    node: that of the test, by default. `before` are words before its command. With a handle `node_network` it opens
    sockets there.
    """

    def __init__(self, kubepods: Path, node: str = "self", before: Sequence[str] = (), node_network: str = "") -> None:
        self._kubepods, self._node, self._before, self._node_network = kubepods, node, before, node_network
        self._folder = tempfile.TemporaryDirectory(prefix="weft-test-netns-")
        self.socket = Path(self._folder.name, "netns.sock")
        self.client = NetnsClient(self.socket)
        self.start()

    def start(self) -> None:
        """Start it, also again."""
        arguments = [str(self._kubepods), str(self.socket), self._node, self._node_network]
        self.process = subprocess.Popen([*self._before, sys.executable, "-c", RUN, *arguments])
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, "it does not answer"
            assert self.process.poll() is None, "it has ended"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        """End it; its socket stays behind."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self._folder.cleanup()


class NetnsHelpers:
    """A helper for each process that stands for the node, started when it is needed."""

    def __init__(self, kubepods: Path) -> None:
        self._kubepods = kubepods
        self._made: dict[str, NetnsHelper] = {}
        self._stack = ExitStack()

    def client(self, node: str = "self") -> NetnsClient:
        """Requests to the helper of this node."""
        if node not in self._made:
            self._made[node] = made = NetnsHelper(self._kubepods, node)
            self._stack.callback(made.close)
        return self._made[node].client

    def close(self) -> None:
        """End all of them."""
        self._stack.close()
