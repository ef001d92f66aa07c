"""A pod's process: reads calls as JSON lines, makes them, answers what the application saw."""

import ctypes
import errno
import json
import socket
import struct
import sys

import calls
import dials
import dials_moved

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6, "mapped": socket.AF_INET6}
TYPES = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
SO_COOKIE = 57
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # leaves no TIME_WAIT behind


def new_socket(call):
    """A socket as the call wants it."""
    sock = socket.socket(FAMILIES[call["family"]], TYPES[call["protocol"]])
    sock.settimeout(call.get("patience", 5))
    if call["protocol"] == "TCP":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return sock


def connect(sock, call):
    """Connect, and read which server is there."""
    sock.connect((call["address"], call["port"]))
    peer = sock.getpeername()[:2]
    if call["protocol"] == "TCP":
        return {"peer": peer, "reached": json.loads(sock.makefile().readline())}
    sock.send(b"?")
    data, source = sock.recvfrom(200)
    return {"peer": peer, "source": source[:2], "reached": json.loads(data)}


def sendto(sock, call):
    """One datagram from an unconnected socket, and its answer."""
    sock.sendto(b"?", (call["address"], call["port"]))
    data, source = sock.recvfrom(200)
    return {"source": source[:2], "reached": json.loads(data)}


def send(sock, call):
    """One datagram from an unconnected socket; its answer stays in the kernel."""
    sock.sendto(b"?", (call["address"], call["port"]))
    return {}


def receive(sock, call):
    """The next answer."""
    data, source = sock.recvfrom(200)
    return {"source": source[:2], "reached": json.loads(data)}


def flood(sock, call):
    """One datagram from each of many sockets."""
    for _ in range(call["sockets"]):
        with socket.socket(FAMILIES[call["family"]], socket.SOCK_DGRAM) as made:
            made.sendto(b"?", (call["address"], call["port"]))
    return {}


def reconnect(sock, call):
    """The frontend first, then another address on the same descriptor."""
    sock.connect((call["address"], call["port"]))
    return connect(sock, call | {"address": call["then"], "port": call["then_port"]})


def assign(sock, call):
    """Only connect: what a connected UDP socket says of its peer, nothing on the wire."""
    sock.connect((call["address"], call["port"]))
    return {"peer": sock.getpeername()[:2]}


def remain(sock, call):
    """Whether a connected socket still is: its pending error, or who answers it."""
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, "pending")
    if call["protocol"] == "TCP":
        return {"reached": sock.getpeername()[:2]}
    sock.send(b"?")
    return {"reached": json.loads(sock.recv(200))}


def exchange(sock, call):
    """Connect, send and receive so many bytes, then end the connection in one of four ways."""
    if call["ends"] != "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    sock.connect((call["address"], call["port"]))
    answer = transfer(sock, call)
    if call["ends"] == "half":
        sock.shutdown(socket.SHUT_WR)
    if call["ends"] in ("half", "server"):
        assert sock.recv(1) == b""
    return answer


def transfer(sock, call):
    """So many bytes each way, on a socket that is connected."""
    order = json.dumps({"answer": call["receive"], "closes": call["ends"] == "server"})
    sock.sendall(order.encode().ljust(call["send"] - 1) + b"\n")
    with sock.makefile("rb") as stream:
        return {"received": len(stream.read(call["receive"]))}


def dial(sock, call):
    """Only connect, over TCP."""
    sock.connect((call["address"], call["port"]))
    return {}


def end(sock, call):
    """Be disconnected and keep the descriptor: connect(AF_UNSPEC)."""
    return {"ended": ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), bytes(16), 16)}


def abandon(sock, call):
    """Close before anybody answered."""
    sock.setblocking(False)
    return {"begun": sock.connect_ex((call["address"], call["port"]))}


def way(sock, call):
    """One of the ways in `calls`."""
    addresses = {name: tuple(address) for name, address in call["addresses"].items()}
    return getattr(calls, call["name"])(**addresses)


def dial_by(sock, call):
    """One of the ways in `dials` and `dials_moved`."""
    ways = vars(dials) | vars(dials_moved)
    return ways[call["way"]](call["address"], call["port"])


def probe(sock, call):
    """Where many connects go: the error at once, or the own address, which is that of a local destination."""
    return {"went": [went(*destination) for destination in call["destinations"]]}


def went(family, protocol, address, port):
    """One of them; TCP does not wait for an answer."""
    with socket.socket(FAMILIES[family], TYPES[protocol]) as made:
        made.setblocking(False)
        if protocol == "TCP":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        error = made.connect_ex((address, port))
        return error if error not in (0, errno.EINPROGRESS) else made.getsockname()[0]


def attempt(call):
    """One call, on a socket of its own or on one that is kept under a name."""
    if "keep" in call:
        if call["keep"] not in kept:
            kept[call["keep"]] = new_socket(call)
        return result(kept[call["keep"]], call) | {"fd": kept[call["keep"]].fileno()}
    with socket.socket(fileno=call["fd"]) if "fd" in call else new_socket(call) as sock:
        return result(sock, call)


def result(sock, call):
    """What came of it; a failure is its errno, silence is `timeout`."""
    try:
        return globals()[call["call"]](sock, call) | {"cookie": cookie(sock)}
    except TimeoutError:
        return {"errno": "timeout"}
    except OSError as error:
        return {"errno": error.errno}


def cookie(sock):
    """The socket's number in the kernel."""
    return struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


kept = {}
for line in sys.stdin:
    request = json.loads(line)
    answers = [attempt(request) for _ in range(request.get("times", 1))]
    print(json.dumps(answers), flush=True)
