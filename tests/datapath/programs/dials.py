"""Ways to connect or send to one address that could get around a hook, run in a pod by `traffic_client`.

Each takes an address and a port, raises the OSError that the program sees, and otherwise returns what it saw. A way
that takes no answer returns `begun`.
"""

import ctypes
import errno
import json
import os
import socket
import struct

import ring

IPPROTO_MPTCP, IP_TRANSPARENT, MSG_FASTOPEN, TCP_FASTOPEN_CONNECT = 262, 19, 0x20000000, 30
FOREIGN = "192.0.2.9"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LIBC = ctypes.CDLL(None, use_errno=True)


def stream_socket(family=socket.AF_INET, protocol=0):
    """A TCP or MPTCP socket that waits for 5 s at most and leaves no TIME_WAIT behind."""
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.settimeout(5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return made


def _reached(made):
    return {"reached": json.loads(made.makefile().readline())}


def connected(made, address, port):
    """Connect the socket, and read which server is there."""
    with made:
        made.connect((address, port))
        return _reached(made)


def _name(address, port):
    """struct sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)


def plain(address, port):
    """connect."""
    return connected(stream_socket(), address, port)


def mapped(address, port):
    """An IPv6 socket to the IPv4-mapped address."""
    return connected(stream_socket(socket.AF_INET6), f"::ffff:{address}", port)


def multipath(address, port):
    """MPTCP."""
    return connected(stream_socket(protocol=IPPROTO_MPTCP), address, port)


def mapped_multipath(address, port):
    """MPTCP to the IPv4-mapped address."""
    return connected(stream_socket(socket.AF_INET6, IPPROTO_MPTCP), f"::ffff:{address}", port)


def bound_to_a_device(address, port):
    """SO_BINDTODEVICE."""
    made = stream_socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    return connected(made, address, port)


def from_a_foreign_address(address, port):
    """IP_TRANSPARENT, with a source address that is nobody's here: no answer ever comes."""
    with stream_socket() as made:
        made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        made.bind((FOREIGN, 0))
        made.setblocking(False)
        if (error := made.connect_ex((address, port))) not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        return {"begun": True}


def from_the_same_port(address, port):
    """Bound to the number of the port that is dialled."""
    made = stream_socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return connected(made, address, port)


def marked(address, port):
    """SO_MARK."""
    made = stream_socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1337)
    return connected(made, address, port)


def fast_open(address, port):
    """MSG_FASTOPEN: sendmsg connects."""
    with stream_socket() as made:
        made.setblocking(True)
        made.sendto(b"", MSG_FASTOPEN, (address, port))
        return _reached(made)


def fast_open_later(address, port):
    """TCP_FASTOPEN_CONNECT: the SYN waits for the first write."""
    with stream_socket() as made:
        made.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        made.setblocking(True)
        made.connect((address, port))
        made.send(b"?")
        return _reached(made)


def connected_before(address, port):
    """The same descriptor was connected to a server that anybody may dial, and was disconnected by AF_UNSPEC."""
    with socket.create_server(("127.0.0.1", 0)) as server, stream_socket() as made:
        made.connect(server.getsockname())
        if LIBC.connect(made.fileno(), bytes(16), 16):
            raise RuntimeError(os.strerror(ctypes.get_errno()))
        made.connect((address, port))
        return _reached(made)


def _by_ring(address, port, **options):
    with stream_socket() as made:
        made.setblocking(True)
        ring.connect(made.fileno(), _name(address, port), **options)
        return _reached(made)


def by_io_uring(address, port):
    """IORING_OP_CONNECT."""
    return _by_ring(address, port)


def by_io_uring_s_workers(address, port):
    """IOSQE_ASYNC: a worker thread of the kernel connects."""
    return _by_ring(address, port, flags=ring.ASYNC)


def by_io_uring_s_poller(address, port):
    """IORING_SETUP_SQPOLL: a thread of the kernel submits."""
    return _by_ring(address, port, setup=ring.SETUP_SQPOLL)


def _datagram(family, address, port, *, connects):
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        if connects:
            made.connect((address, port))
            made.send(b"?")
        else:
            made.sendmsg([b"?"], [], 0, (address, port))
        return {"reached": json.loads(made.recv(200))}


def datagram_connected(address, port):
    """UDP, connect and send."""
    return _datagram(socket.AF_INET, address, port, connects=True)


def datagram(address, port):
    """UDP, sendmsg with a name."""
    return _datagram(socket.AF_INET, address, port, connects=False)


def mapped_datagram(address, port):
    """UDP, sendmsg to the IPv4-mapped address."""
    return _datagram(socket.AF_INET6, f"::ffff:{address}", port, connects=False)
