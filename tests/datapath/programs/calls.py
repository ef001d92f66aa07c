"""Ways in which programs connect and send, run in a pod by `traffic_client`. Each returns what the program saw.

`one` and `two` are frontends' addresses and ports, each with a backend of its own, and `again` is a frontend with the
backend of `one`. Servers answer with their own address and port, as JSON.
"""

import array
import ctypes
import errno
import json
import os
import select
import socket
import struct

MSG_FASTOPEN = 0x20000000
IPPROTO_MPTCP = 262
IP_BIND_ADDRESS_NO_PORT, IP_PKTINFO, UDP_SEGMENT, SOL_UDP = 24, 8, 103, 17
SOURCE = "127.0.0.1"


def _answer(sock):
    """What a TCP server says, and whom the socket shows."""
    return {"peer": sock.getpeername(), "reached": json.loads(sock.makefile().readline())}


def _reply(sock, flags=0):
    data, source = sock.recvfrom(200, flags)
    return {"source": source, "reached": json.loads(data)}


def _udp():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(5)
    return made


def _tcp():
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def not_blocking(one, **_):
    """connect, poll, SO_ERROR, as event loops do it."""
    made = _tcp()
    made.setblocking(False)
    assert made.connect_ex(one) == errno.EINPROGRESS
    poll = select.poll()
    poll.register(made, select.POLLOUT)
    assert poll.poll(5000)
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    made.setblocking(True)
    return _answer(made)


def after_a_failure(one, **_):
    """The same descriptor, which was refused elsewhere first."""
    made = _tcp()
    made.setblocking(True)
    assert made.connect_ex((SOURCE, 1)) == errno.ECONNREFUSED
    made.connect(one)
    return _answer(made)


def bound(one, **_):
    """From an address and a port of its own."""
    made = _tcp()
    made.bind((SOURCE, 0))
    own = made.getsockname()
    made.connect(one)
    assert made.getsockname() == own
    return _answer(made)


def bound_without_port(one, **_):
    """The port is chosen at connect."""
    made = _tcp()
    made.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    made.bind((SOURCE, 0))
    made.connect(one)
    assert made.getsockname()[0] == SOURCE
    return _answer(made)


def same_source_to_a_shared_backend(one, again, **_):
    """Two connections would be one on the wire: the second has to fail."""
    first, second = _tcp(), _tcp()
    for made in (first, second):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind((SOURCE, 0))
    second.bind(first.getsockname())
    first.connect(one)
    return {"errno": second.connect_ex(again), **_answer(first)}


def fast_open(one, **_):
    """No connect call: the first sendmsg connects."""
    made = _tcp()
    made.setblocking(True)
    made.sendto(b"", MSG_FASTOPEN, one)
    return _answer(made)


def multipath(one, **_):
    """MPTCP, which connect's program sees as TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as made:
        made.settimeout(5)
        made.connect(one)
        return _answer(made)


def inherited(one, **_):
    """A child of fork uses its parent's connection."""
    made = _tcp()
    made.connect(one)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(_answer(made)).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reader, 4096))


def alternating(one, two, **_):
    """One UDP socket, two frontends."""
    made = _udp()
    found = []
    for address in (one, two, one, two):
        made.sendto(b"?", address)
        found.append(_reply(made))
    return {"replies": found}


def elsewhere_while_connected(one, again, **_):
    """A connected socket sends to another frontend; what comes back is from its own peer."""
    made = _udp()
    made.connect(one)
    made.sendto(b"?", again)
    return _reply(made)


def disconnected(one, two, **_):
    """connect(AF_UNSPEC) runs no program: what the socket remembers must do no harm."""
    made = _udp()
    made.connect(one)
    nobody = struct.pack("=H14x", socket.AF_UNSPEC)
    assert ctypes.CDLL(None).connect(made.fileno(), nobody, len(nobody)) == 0
    made.sendto(b"?", two)
    return _reply(made)


class _Message(ctypes.Structure):
    """struct mmsghdr of x86_64 and arm64."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


def _name(address):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", address[1]) + socket.inet_aton(address[0]) + bytes(8)


def many_at_once(one, two, **_):
    """sendmmsg: several datagrams in one call, each decided for itself."""
    made = _udp()
    names = [ctypes.create_string_buffer(_name(address), 16) for address in (one, two)]
    data = ctypes.create_string_buffer(b"?", 1)
    vector = array.array("Q", [ctypes.addressof(data), 1])
    messages = (_Message * 2)(*(_Message(ctypes.addressof(name), 16, vector.buffer_info()[0], 1) for name in names))
    assert ctypes.CDLL(None, use_errno=True).sendmmsg(made.fileno(), messages, 2, 0) == 2
    return {"replies": sorted((_reply(made) for _ in range(2)), key=lambda reply: reply["source"])}


def segmented(one, **_):
    """UDP_SEGMENT: one send, two datagrams on the wire."""
    made = _udp()
    made.sendmsg([b"??"], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 1))], 0, one)
    return {"replies": [_reply(made), _reply(made)]}


def peeked(one, **_):
    """A look at a datagram before it is taken."""
    made = _udp()
    made.sendto(b"?", one)
    return {"replies": [_reply(made, socket.MSG_PEEK), _reply(made)]}


def with_packet_info(one, **_):
    """recvmsg with ancillary data, as name servers do it."""
    made = _udp()
    made.setsockopt(socket.SOL_IP, IP_PKTINFO, 1)
    made.sendto(b"?", one)
    data, control, _flags, source = made.recvmsg(200, 100)
    assert [(level, kind) for level, kind, _ in control] == [(socket.SOL_IP, IP_PKTINFO)]
    return {"source": source, "reached": json.loads(data)}


def foreign_datagram(one, backend, **_):
    """A datagram from another port of the backend is not the frontend's."""
    made = _udp()
    made.sendto(b"?", one)
    first = _reply(made)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unconnected:
        unconnected.bind((backend[0], 0))
        unconnected.sendto(json.dumps(unconnected.getsockname()).encode(), (backend[0], made.getsockname()[1]))
        return {"replies": [first, _reply(made)]}


def itself(one, backend, **_):
    """The client is the frontend's only endpoint."""
    with socket.create_server((backend[0], 0)) as server:
        made = _tcp()
        made.connect((one[0], server.getsockname()[1]))
        accepted, _peer = server.accept()
        accepted.sendall(json.dumps(server.getsockname()).encode() + b"\n")
        return _answer(made)
