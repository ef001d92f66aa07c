"""The kubelet's probe: its exit code, and what it says, beside a real server."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.telemetry.http import HttpServer, Response

ROUTES = {
    "/ready": lambda _: Response.text("ready\n"),
    "/stale": lambda _: Response.text("stale: no server\n", 503),
    "/draining": lambda _: Response.text("DRAINING\n", 503),
}


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        (("/ready",), 0, ""),
        (("/stale",), 1, "503 stale: no server\n"),
        (("/draining",), 1, "503 DRAINING\n"),
        (("/draining", "DRAINING"), 0, ""),
        (("/stale", "DRAINING"), 1, "503 stale: no server\n"),
    ],
)
async def test_it_says_what_the_server_says(
    tmp_path: Path, arguments: tuple[str, ...], code: int, printed: str
) -> None:
    server = HttpServer(ROUTES)
    await server.start_unix(tmp_path / f"{socket.gethostname()}-x.sock")
    assert await asyncio.to_thread(probe, str(tmp_path / "{host}-x.sock"), *arguments) == (code, printed)
    await server.stop()


def probe(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-BIm", "agent.probe", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    assert probe(str(path), "/ready") == (1, f"{path}: [Errno 2] No such file or directory\n")


def test_what_is_no_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        with subprocess.Popen(
            [sys.executable, "-BIm", "agent.probe", str(tmp_path / "s"), "/ready"], stdout=subprocess.PIPE, text=True
        ) as asking:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.close()
            printed, _ = asking.communicate()
    assert (asking.returncode, printed.startswith(f"{tmp_path}/s: ")) == (1, True)
