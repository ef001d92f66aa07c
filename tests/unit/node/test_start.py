"""An agent that cannot start says why in a sentence."""

import socket
import sys
from pathlib import Path
from subprocess import run

import pytest

from agent.telemetry.http import HttpServer, ListenError, listening_at

# A minute: the machine may be busy, and the programs are imported while the folder is made.
PATIENCE = 60


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "agent", "--manifests", str(tmp_path), "--kubepods", str(tmp_path)]
    done = run([*command, "--state", "/proc/weft"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr.startswith("weft: "), "/proc/weft" in done.stderr) == (1, True, True)
    assert "Traceback" not in done.stderr


async def test_a_port_that_somebody_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoint = f"--metrics 127.0.0.1:{port}"
        with pytest.raises(ListenError, match=f"cannot listen at {endpoint}: .*in use"), listening_at(endpoint):
            await HttpServer({}).start_tcp("127.0.0.1", port)
