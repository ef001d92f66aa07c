"""Terminates connected sockets of pods: those whose backend was removed, and connections of clients that a protected
pod, or a waypoint for it, does not admit any more. A process of its own does it: `terminate_sockets`.

Unconnected sockets need none of this: the programs decide for each datagram anew.
"""

import asyncio
import json
import logging
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from agent.backoff import Backoff
from agent.datapath.driver import BackendsRemoved
from agent.ir.tables import Protocol, SocketAddress, address_text
from agent.ir.waypoint_state import ClientsRevoked

log = logging.getLogger(__name__)

# Before a run: work that arrives meanwhile is one run. A change of policies is work twice: for the kernel's tables, and
# for the waypoint once Envoy has acknowledged it.
GATHER_SECONDS = 0.2
RUN_SECONDS = 60.0  # a run over 250 pods with thousands of sockets takes a few
PROGRAM = ("-m", "agent.kernel.terminate_sockets")


class TerminationError(Exception):
    """A run of the process failed; the message is the reason."""


class SocketTerminator:
    """Starts the process when frontends lost backends, or policies changed; `run` it as a task."""

    def __init__(
        self,
        pins: Path,
        kubepods: Path,
        netns_socket: Path,
        spared: Callable[[], list[str]],
        program: Sequence[str] = PROGRAM,
        run_seconds: float = RUN_SECONDS,
        able: bool = True,
    ) -> None:
        """`spared` returns the addresses of waypoints: a socket connected there has lost no backend. `program` are
        arguments of Python; a run is killed after `run_seconds`. Without `able` (the kernel cannot destroy sockets)
        nothing runs.
        """
        paths = {"--pins": pins, "--kubepods": kubepods, "--netns-socket": netns_socket}
        self._command = [*program, *(f"{name}={path}" for name, path in paths.items())]
        self._run_seconds = run_seconds
        self._able = able
        self._backoff = Backoff(random.random)
        self._spared = spared
        self.waiting: dict[tuple[Protocol, SocketAddress], BackendsRemoved] = {}
        self._revoked = self._revoking = False
        # By address and port: however often policies change until a run, there is no more than one for each.
        self._clients: dict[tuple[str, int], ClientsRevoked] = {}
        self._waypoint_pods: frozenset[int] = frozenset()
        self._wake = asyncio.Event()
        self.ended: Counter[Protocol] = Counter()
        self.runs = 0

    def counts(self) -> dict[str, int]:
        """Sockets terminated so far, by protocol."""
        return {protocol.name.lower(): self.ended[protocol] for protocol in Protocol}

    @property
    def revoking(self) -> bool:
        """Whether connections of clients that are not admitted any more may not have ended yet."""
        return self._revoking or self._revoked or bool(self._clients)

    def submit(self, frontends: Iterable[BackendsRemoved]) -> None:
        """Queue these frontends for the next run; the latest entry of a frontend replaces earlier ones."""
        if self._able:
            self.waiting |= {(removed.protocol, removed.address): removed for removed in frontends}
        if self.waiting:
            self._wake.set()

    def revoke(self) -> None:
        """Have the next run end the connections that the kernel's tables of authorization do not admit."""
        if self._able:
            self._revoked = True
            self._wake.set()

    def revoke_clients(self, clients: Iterable[ClientsRevoked], pods: Iterable[int]) -> None:
        """Have the next run end these connections to waypoints, whose pods have these cgroup ids."""
        if self._able:
            self._merge(clients)
            self._waypoint_pods = frozenset(pods)
            self._wake.set()

    def _merge(self, clients: Iterable[ClientsRevoked]) -> None:
        for item in clients:
            before = self._clients.get(key := (item.address, item.port))
            self._clients[key] = before.merged(item) if before is not None else item

    async def run(self) -> None:
        """Run until cancelled. On failure the work is merged into the next run, with back-off."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            waiting, self.waiting = self.waiting, {}
            revoked, self._revoked = self._revoked, False
            clients, self._clients = self._clients.values(), {}
            self._revoking = revoked or bool(clients)
            try:
                task = document(waiting.values(), self._spared(), revoked, clients, self._waypoint_pods)
                self._count(await self._terminate(task))
                self._backoff.succeeded()
                pause = 0.0
            except (OSError, TerminationError) as error:
                log.warning("sockets not terminated, trying again", extra={"error": str(error)})
                self.waiting = waiting | self.waiting
                self._revoked |= revoked
                self._merge(clients)
                self._wake.set()
                pause = self._backoff.failed()
            self._revoking = False
            self.runs += 1
            await asyncio.sleep(pause)

    async def _terminate(self, task: dict[str, Any]) -> Counter[Protocol]:
        """Run the process once; returns how many sockets it terminated. Raises `OSError` and `TerminationError`."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(self._run_seconds):
                output, errors = await child.communicate(json.dumps(task).encode())
        except TimeoutError as error:
            raise TerminationError(f"not done after {self._run_seconds:g} s") from error
        finally:
            await _kill(child)
        if child.returncode:
            raise TerminationError(errors.decode(errors="replace").strip().rpartition("\n")[2])
        return Counter({Protocol(int(number)): count for number, count in json.loads(output).items()})

    def _count(self, ended: Counter[Protocol]) -> None:
        self.ended += ended
        if ended:
            counts = {protocol.name.lower(): count for protocol, count in ended.items()}
            log.info("terminated sockets", extra=counts)


async def _kill(child: Process) -> None:
    """Kill the process if it still runs: it timed out, or the agent stops."""
    if child.returncode is None:
        child.kill()
        await child.wait()


def document(
    frontends: Iterable[BackendsRemoved],
    spared: list[str],
    revoked: bool,
    clients: Iterable[ClientsRevoked] = (),
    waypoint_pods: Iterable[int] = (),
) -> dict[str, Any]:
    """The input of `terminate_sockets`: addresses to spare, each frontend with its remaining backends, whether
    connections are to end that protected pods do not admit any more, those to waypoints that are to end, and the cgroup
    ids of the pods that have these.
    """
    return {
        "revoked": revoked,
        "waypoint_pods": sorted(waypoint_pods),
        "clients": [[item.address, item.port, sorted(item.clients), item.all_but] for item in clients],
        "spared": spared,
        "frontends": [
            [removed.protocol, _written(removed.address), [_written(backend) for backend in sorted(removed.backends)]]
            for removed in frontends
        ],
    }


def _written(address: SocketAddress) -> tuple[str, int]:
    return address_text(address[0]), address[1]
