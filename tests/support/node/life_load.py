"""Load from ten pods, and its results. Every client runs `tests/cluster/go/load`, which needs little CPU time."""

import collections
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import builds

from agent.lab import lifecycle
from agent.lab.weft import WAYPOINTS
from support import TESTS
from support.node.lab_handle import LabHandle

MANIFEST = TESTS / "node" / "life.yaml"
CLIENTS, RATE = 10, 200
# A stream that lasts as long as the load.
ENDLESS = 3600.0
# `make test-long` is the whole of it.
WHOLE = float(os.environ.get("WEFT_TEST_SCALE", "0.1")) >= 1
ROUNDS = 10 if WHOLE else 3
# Connections whose messages count as exchanges; of the others each request does.
LONG = ("WebSocket", "gRPC stream", "slow POST")


def program() -> Path:
    """The program of clients and servers."""
    return builds.program(builds.LOAD, "load")


def manifest(folder: Path) -> Path:
    """Ten clients and two servers, with the program in it."""
    found = folder / MANIFEST.name
    found.write_text(MANIFEST.read_text().replace("PROGRAM", str(program())))
    return found


@dataclass
class Seen:
    """The sums of all clients' results."""

    seconds: float = 0.0
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    lives: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, client: str, document: dict[str, Any]) -> None:
        self.counts.update(document["counts"])
        self.lives += [{"client": client, **life} for life in document["lives"] or ()]
        self.failures += [f"{client} {failure}" for failure in document["failures"] or ()]

    @property
    def exchanges(self) -> int:
        """Requests that were answered, and messages that came back."""
        single = sum(count for what, count in self.counts.items() if not what.startswith((*LONG, "failed")))
        return single + sum(int(life["exchanges"]) for life in self.lives if life["kind"] in LONG)

    def by_kernel(self, kind: str) -> int:
        """Exchanges of a kind that did not go through a waypoint: the server saw the client's own address."""
        waypoints = {address for addresses in WAYPOINTS.values() for address in addresses}
        found = {what.partition(f"{kind} by ")[2]: count for what, count in self.counts.items()}
        return sum(count for peer, count in found.items() if peer and peer not in waypoints)

    @property
    def ends(self) -> collections.Counter[tuple[str, str]]:
        """How long-lived connections ended, by kind."""
        return collections.Counter((life["kind"], life["end"]) for life in self.lives)

    def table(self) -> str:
        """What happened to the long-lived connections: a line for each kind and end, in the long run for each."""
        lines = [f"{self.exchanges} exchanges in {self.seconds:.1f} s, {self.counts['failed']} failed"]
        for (kind, end), count in sorted(self.ends.items()):
            found = [life for life in self.lives if (life["kind"], life["end"]) == (kind, end)]
            goaway = sum(life["goaway"] for life in found)
            age = f"{min(x['seconds'] for x in found):.1f} to {max(x['seconds'] for x in found):.1f} s"
            lines.append(f"  {count:4} {kind}: {end}, {age}" + (f", {goaway} had a GOAWAY" if goaway else ""))
            if WHOLE:
                lines += [
                    f"       {x['client']} {x['seconds']:.1f} s, {x['exchanges']} exchanges {x['by']}" for x in found
                ]
        return "\n".join(lines)


@contextmanager
def load(mesh: LabHandle, span: float = ENDLESS) -> Iterator[Seen]:
    """What the clients see while the body runs, streams ended after so many seconds; complete when it has run."""
    names = sorted(key.name for key in mesh.store.load() if key.kind == "Pod" and key.name.startswith("client-"))
    assert len(names) == CLIENTS
    command = [str(program()), "run", "web.shop", "rpc.shop", str(RATE), str(span)]
    running: dict[str, subprocess.Popen[str]] = {}
    seen = Seen()
    for name in names:
        argv, environment = lifecycle.exec_command(mesh.paths, f"shop/{name}", command)
        running[name] = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for client in running.values():
            assert client.stdout is not None
            assert client.stdout.readline() == "running\n"
        began = time.monotonic()
        yield seen
    finally:
        for client in running.values():
            client.terminate()
        printed = {name: client.communicate(timeout=90)[0] for name, client in running.items()}
    seen.seconds = time.monotonic() - began
    for name, text in printed.items():
        seen.add(name, json.loads(text))


def paced(rate: float, seconds: float, act: Callable[[int], None]) -> int:
    """Call `act` at this rate for so many seconds. Returns the number of calls."""
    began = time.monotonic()
    number = 0
    while time.monotonic() < began + seconds:
        act(number)
        number += 1
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
    return number
