"""Runs in a pod: TCP and UDP of every kind to one Service, until a line comes on standard input.

Arguments: the Service's address, its TCP port, its UDP port. Every question must be answered and every socket must show
the Service. Prints one JSON object: what was counted, and the first failures.

A connected UDP socket whose backend left, kept or new, ends with ECONNABORTED (or EDESTADDRREQ, when it was about to
send): that is counted as `ended`, and another is made. The agent compares sockets with the backends of a moment ago, so
the second one can end like the first.
"""

import collections
import errno
import json
import select
import socket
import sys
import time

ADDRESS = sys.argv[1]
PORTS = {socket.SOCK_STREAM: int(sys.argv[2]), socket.SOCK_DGRAM: int(sys.argv[3])}
ENDED = (errno.ECONNABORTED, errno.EDESTADDRREQ)
PATIENCE = 10


class WrongPeerError(Exception):
    """A socket that says something else than it should."""


def connected(kind):
    """A socket that shows the Service."""
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(PATIENCE)
    made.connect((ADDRESS, PORTS[kind]))
    return made


def ask(made, kind):
    """One question on a connected socket, and whom it shows as its peer."""
    made.sendall(b"x\n")
    answer = json.loads(made.recv(4096))
    if made.getpeername() != (ADDRESS, PORTS[kind]):
        raise WrongPeerError(made.getpeername())
    return answer["pod"]


def fresh(kind, counts):
    """A connection of its own, or another one when its backend left."""
    while True:
        with connected(kind) as made:
            try:
                return ask(made, kind)
            except OSError as error:
                count_end(kind, error, counts)


def count_end(kind, error, counts):
    """Count a socket that ended because its backend left. Raises every other error, and at the hundredth in a row."""
    if kind == socket.SOCK_STREAM or error.errno not in ENDED or counts["ended in a row"] >= 100:
        raise error
    counts["ended"] += 1
    counts["ended in a row"] += 1


def unconnected(made):
    """A datagram each, from one socket."""
    made.sendto(b"x", (ADDRESS, PORTS[socket.SOCK_DGRAM]))
    answer, source = made.recvfrom(4096)
    if source != (ADDRESS, PORTS[socket.SOCK_DGRAM]):
        raise WrongPeerError(source)
    return json.loads(answer)["pod"]


class LongLived:
    """One connected socket for as long as it lives."""

    def __init__(self, kind, counts):
        self._kind, self._counts, self._made = kind, counts, connected(kind)

    def ask(self):
        """On this socket, or on another when its backend left."""
        while True:
            try:
                return ask(self._made, self._kind)
            except OSError as error:
                count_end(self._kind, error, self._counts)
                self._made = connected(self._kind)


def main():
    """All kinds in turn."""
    counts, failures = collections.Counter(), []
    tcp, udp = LongLived(socket.SOCK_STREAM, counts), LongLived(socket.SOCK_DGRAM, counts)
    single = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    single.settimeout(PATIENCE)
    calls = {
        "tcp new": lambda: fresh(socket.SOCK_STREAM, counts),
        "tcp kept": tcp.ask,
        "udp new": lambda: fresh(socket.SOCK_DGRAM, counts),
        "udp kept": udp.ask,
        "udp unconnected": lambda: unconnected(single),
    }
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for name, call in calls.items():
            try:
                call()
                counts[name] += 1
                counts["ended in a row"] = 0
            except (OSError, ValueError, WrongPeerError) as error:
                counts["failed"] += 1
                failures.append(f"{time.time():.2f} {name}: {error!r}")
        time.sleep(0.01)
    print(json.dumps({"counts": counts, "failures": failures[:5]}), flush=True)


main()
