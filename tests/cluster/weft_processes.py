"""weft on the cluster as processes of this machine: an agent for each node, and the controller. Images come later."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layout

from agent.kernel.links import detach

WEFT = Path(sys.executable).with_name("weft")
CGROUP2 = Path("/sys/fs/cgroup/unified")
FIRST_METRICS_PORT = 19500
PATIENCE = 60.0


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait for something to be so. Raises `TimeoutError` naming it."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


@dataclass(frozen=True)
class Agent:
    """The agent of one node."""

    node: str
    process: subprocess.Popen[bytes]

    @property
    def state(self) -> Path:
        return layout.STATE / f"weft-{self.node}"

    def status(self) -> Any:
        """What `weft status` says; None while nobody answers."""
        command = [WEFT, "status", "--state", self.state, "-o", "json"]
        done = subprocess.run(command, capture_output=True, check=False)
        return json.loads(done.stdout) if done.stdout else None

    def pods(self) -> dict[str, str]:
        """Modes by pod."""
        return {found["pod"]: found["mode"] for found in (self.status() or {"pods": []})["pods"]}


@contextmanager
def agents() -> Iterator[dict[str, Agent]]:
    """An agent for each node, ready; nothing of them stays."""
    with ExitStack() as stack:
        found = {
            node.name: stack.enter_context(_agent(node, FIRST_METRICS_PORT + number))
            for number, node in enumerate(layout.NODES)
        }
        for agent in found.values():
            until(f"{agent.node} ready", lambda agent=agent: (agent.status() or {}).get("ready"))
        yield found


@contextmanager
def _agent(node: layout.Node, port: int) -> Iterator[Agent]:
    state = layout.STATE / f"weft-{node.name}"
    kubepods = CGROUP2 / node.cgroup.strip("/") / "kubepods"
    flags = ("--node", node.name, "--kubepods", str(kubepods), "--state", str(state))
    with _process("agent", "--kubernetes", *flags, "--metrics", f"127.0.0.1:{port}") as process:
        try:
            yield Agent(node.name, process)
        finally:
            _end(process)
            detach(state / "bpf")
            subprocess.run(["umount", str(state / "bpf")], check=True)


@contextmanager
def controller() -> Iterator[None]:
    """The controller, leading or about to."""
    flags = ("--namespace", "kube-system", "--metrics", f"127.0.0.1:{FIRST_METRICS_PORT + len(layout.NODES)}")
    with _process("controller", *flags) as process:
        try:
            yield
        finally:
            _end(process)


def _process(command: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A `weft` command that dies with this process."""
    die_along = ("setpriv", "--pdeathsig", "KILL")
    return subprocess.Popen([*die_along, WEFT, command, "--kubeconfig", layout.KUBECONFIG, *arguments])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=20)
