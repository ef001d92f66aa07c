"""What runs for long at a Service, begun by a client beside a test."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from agent.lab import lifecycle
from support.node.lab_handle import LabHandle
from support.node.programs import PROGRAMS, running

Stream = tuple[str, str, int, str]
"""The kind, as in `programs/streams.py`, host, port and path."""


@contextmanager
def streams(
    mesh: LabHandle, client: str, wanted: Mapping[str, Stream], ending: bool = False
) -> Iterator[dict[str, str]]:
    """Streams of a client by name, and at the end which of them still run; `ending` ones are waited for."""
    command = [sys.executable, str(PROGRAMS / "streams.py"), json.dumps(wanted), json.dumps(list(wanted) * ending)]
    found: dict[str, str] = {}
    with running(*lifecycle.exec_command(mesh.paths, client, command)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield found
        found |= json.loads(process.communicate(timeout=60)[0])
