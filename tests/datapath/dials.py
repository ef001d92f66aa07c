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
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path

import ring

IPPROTO_MPTCP, IP_TRANSPARENT, MSG_FASTOPEN, TCP_FASTOPEN_CONNECT = 262, 19, 0x20000000, 30
CLONE_NEWNET = 0x40000000
FOREIGN = "192.0.2.9"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CGROUPS = Path("/sys/fs/cgroup")
LIBC = ctypes.CDLL(None, use_errno=True)


def _socket(family=socket.AF_INET, protocol=0):
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.settimeout(5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return made


def _reached(made):
    return {"reached": json.loads(made.makefile().readline())}


def _connected(made, address, port):
    with made:
        made.connect((address, port))
        return _reached(made)


def _name(address, port):
    """struct sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)


def plain(address, port):
    """connect."""
    return _connected(_socket(), address, port)


def mapped(address, port):
    """An IPv6 socket to the IPv4-mapped address."""
    return _connected(_socket(socket.AF_INET6), f"::ffff:{address}", port)


def multipath(address, port):
    """MPTCP."""
    return _connected(_socket(protocol=IPPROTO_MPTCP), address, port)


def mapped_multipath(address, port):
    """MPTCP to the IPv4-mapped address."""
    return _connected(_socket(socket.AF_INET6, IPPROTO_MPTCP), f"::ffff:{address}", port)


def bound_to_a_device(address, port):
    """SO_BINDTODEVICE."""
    made = _socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    return _connected(made, address, port)


def from_a_foreign_address(address, port):
    """IP_TRANSPARENT, with a source address that is nobody's here: no answer ever comes."""
    with _socket() as made:
        made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        made.bind((FOREIGN, 0))
        made.setblocking(False)
        if (error := made.connect_ex((address, port))) not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        return {"begun": True}


def from_the_same_port(address, port):
    """Bound to the number of the port that is dialled."""
    made = _socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return _connected(made, address, port)


def marked(address, port):
    """SO_MARK."""
    made = _socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1337)
    return _connected(made, address, port)


def fast_open(address, port):
    """MSG_FASTOPEN: sendmsg connects."""
    with _socket() as made:
        made.setblocking(True)
        made.sendto(b"", MSG_FASTOPEN, (address, port))
        return _reached(made)


def fast_open_later(address, port):
    """TCP_FASTOPEN_CONNECT: the SYN waits for the first write."""
    with _socket() as made:
        made.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        made.setblocking(True)
        made.connect((address, port))
        made.send(b"?")
        return _reached(made)


def connected_before(address, port):
    """The same descriptor was connected to a server that anybody may dial, and was disconnected by AF_UNSPEC."""
    with socket.create_server(("127.0.0.1", 0)) as server, _socket() as made:
        made.connect(server.getsockname())
        if LIBC.connect(made.fileno(), bytes(16), 16):
            raise RuntimeError(os.strerror(ctypes.get_errno()))
        made.connect((address, port))
        return _reached(made)


def _cgroup():
    """The folder of this process's cgroup. `ip netns exec` hides cgroupfs: it is mounted again, in a namespace of
    mounts that is this program's own.
    """
    if not (CGROUPS / "cgroup.procs").exists():
        subprocess.run(["mount", "-t", "cgroup2", "none", str(CGROUPS)], check=True)
    (line,) = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    return CGROUPS / line[len("0::/") :]


@contextmanager
def _cgroups(*steps):
    """Cgroups one within the other, beside this process's own and so within its pod; they are empty in the end."""
    folder = _cgroup().parent
    made = []
    try:
        for step in steps:
            folder /= step
            folder.mkdir()
            made.append(folder)
        yield made
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _in_a_child(do):
    """What `do` returns or raises in a child process, which has ended then."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = do()
        except OSError as error:
            answer = {"errno": error.errno}
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(text)
    if "errno" in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]))
    return answer


def _move(folder, file="cgroup.procs"):
    """The calling process, or thread, enters a cgroup."""
    (folder / file).write_text("0")


def deep_in_cgroups(address, port):
    """From the innermost of twelve cgroups within the pod's."""

    def do():
        _move(folders[-1])
        return plain(address, port)

    with _cgroups(*(f"deep{number}" for number in range(12))) as folders:
        return _in_a_child(do)


def moved_after_socket(address, port):
    """The process changes its cgroup between socket and connect."""

    def do():
        made = _socket()
        _move(folders[-1])
        return _connected(made, address, port)

    with _cgroups("moved") as folders:
        return _in_a_child(do)


def in_a_threaded_cgroup(address, port):
    """A thread in a threaded cgroup, which its process is not in."""

    def call():
        _move(folders[-1], "cgroup.threads")
        try:
            found.append(plain(address, port))
        except OSError as error:
            found.append({"errno": error.errno})

    def do():
        _move(folders[0])
        (folders[1] / "cgroup.type").write_text("threaded")
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return found[0]

    found = []
    with _cgroups("process", "thread") as folders:
        return _in_a_child(do)


def on_a_passed_descriptor(address, port):
    """The socket is another process's, in another cgroup of the pod, and comes by SCM_RIGHTS."""

    def make():
        _move(folders[-1])
        made = _socket()
        socket.send_fds(theirs, [b"x"], [made.fileno()])
        return {}

    ours, theirs = socket.socketpair()
    with ours, theirs, _cgroups("passing") as folders:
        _in_a_child(make)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        made = socket.socket(fileno=descriptor)
        made.settimeout(5)
        return _connected(made, address, port)


def _by_ring(address, port, **options):
    with _socket() as made:
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


def without_a_network(address, port):
    """From a network namespace that it makes for itself, where nothing is."""

    def do():
        if LIBC.unshare(CLONE_NEWNET):
            raise RuntimeError(os.strerror(ctypes.get_errno()))
        return plain(address, port)

    return _in_a_child(do)


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
