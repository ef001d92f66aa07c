"""Programs that run beside a test until their standard input ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.lab import lifecycle
from support import TESTS
from support.node.lab_handle import LabHandle
from support.node.mesh import CLIENT

PROGRAMS = TESTS / "node" / "programs"


@contextmanager
def running(command: list[str], environment: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A program that runs until its standard input is closed."""
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def echo(mesh: LabHandle) -> str:
    """The Service's address."""
    service = mesh.get("Service", "app", "echo")
    assert service is not None
    return str(service["spec"]["clusterIP"])


@contextmanager
def steady_requests(mesh: LabHandle, pod: str = CLIENT) -> Iterator[dict[str, Any]]:
    """The results of a pod's requests while the body runs. Complete at the end."""
    command = [sys.executable, str(PROGRAMS / "ask.py"), echo(mesh), "80", "20"]
    seen: dict[str, Any] = {}
    with running(*lifecycle.exec_command(mesh.paths, pod, command)) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "asking\n"
        yield seen
        seen |= json.loads(client.communicate("end\n", timeout=60)[0])
