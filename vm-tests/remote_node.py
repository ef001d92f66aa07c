"""A node in a guest, as tests on the host use it, from within the network namespace of the control bridge."""

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from private_network import CONTROL_PORT, control_address

KERNELS = "WEFT_VM_KERNELS"
# Debian's interpreter in the guest, with weft's dependencies.
PYTHON = "/venv/bin/python"
# A start takes 15 seconds of a processor, which a busy host may not have for minutes.
_BOOT_SECONDS = 1800.0
# The job's own limit is shorter where a command never ends.
_COMMAND_SECONDS = 3600.0
# A node that has reset itself since then answers that it does not know the connection of a command.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 60}


class NodeError(AssertionError):
    """A command on a node failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Node:
    """By its number, from 1, and its kernel's name."""

    number: int
    kernel: str

    @property
    def name(self) -> str:
        """As Kubernetes would have it."""
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        """On the link between the nodes, once a test has given it (`Node.join`)."""
        return f"198.51.100.{self.number}"

    def run(self, *command: str, text: str = "") -> str:
        """What a command prints; `text` is its standard input. Raises `NodeError`."""
        answer = json.loads(self._ask({"command": command, "input": text}))
        if answer["code"]:
            raise NodeError(f"{self.name}: {' '.join(command)}: {answer['code']}: {answer['stderr']}{answer['stdout']}")
        return str(answer["stdout"])

    def shell(self, script: str, text: str = "") -> str:
        """What a shell script prints, which ends with its first failure. Raises `NodeError`."""
        return self.run("sh", "-euc", script, text=text)

    def write(self, path: Path, text: str) -> None:
        """Make a file, and its folder. Raises `NodeError`."""
        self.shell(f"mkdir -p {path.parent} && cat > {path}", text=text)

    def join(self) -> None:
        """Take the address on the link."""
        self.shell(f"ip address replace {self.address}/24 dev eth0")

    def wait(self, after: str = "") -> str:
        """Until it serves, in another boot than `after`; returns what its kernel calls the boot. Raises `NodeError`."""
        end = time.monotonic() + _BOOT_SECONDS
        found = why = ""
        while found in ("", after):
            try:
                found = self.run("cat", "/proc/sys/kernel/random/boot_id")
            except (OSError, json.JSONDecodeError) as error:
                found, why = "", str(error)
            if time.monotonic() > end:
                raise NodeError(f"{self.name} does not come up: {why}")
            time.sleep(0.5)
        return found

    def reboot(self) -> None:
        """Reset it, as when its power fails, until it is on the link. Its job has `reboots`. Raises `NodeError`."""
        boot = self.wait()
        self.shell("(sleep 1; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &")
        self.wait(after=boot)
        self.join()

    def end(self) -> None:
        """Have it write its results and turn itself off."""
        self._ask({"end": True})

    def _ask(self, request: dict[str, Any]) -> bytes:
        with socket.create_connection((control_address(self.number), CONTROL_PORT), timeout=5) as made:
            made.settimeout(_COMMAND_SECONDS)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                made.setsockopt(socket.IPPROTO_TCP, option, value)
            made.sendall(json.dumps(request).encode() + b"\n")
            return made.makefile("rb").readline()


def nodes(kernels: str) -> list[Node]:
    """All of them, by their kernels' names joined by commas: what the environment has as `KERNELS`."""
    return [Node(number, kernel) for number, kernel in enumerate(kernels.split(","), 1)]
