"""More of `dials`: by a process or thread in another cgroup of the pod, or another network namespace, than its
socket or its pod is in.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path

from dials import LIBC, connected, plain, stream_socket

CLONE_NEWNET = 0x40000000
CGROUPS = Path("/sys/fs/cgroup")


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
        made = stream_socket()
        _move(folders[-1])
        return connected(made, address, port)

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
        made = stream_socket()
        socket.send_fds(theirs, [b"x"], [made.fileno()])
        return {}

    ours, theirs = socket.socketpair()
    with ours, theirs, _cgroups("passing") as folders:
        _in_a_child(make)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        made = socket.socket(fileno=descriptor)
        made.settimeout(5)
        return connected(made, address, port)


def without_a_network(address, port):
    """From a network namespace that it makes for itself, where nothing is."""

    def do():
        if LIBC.unshare(CLONE_NEWNET):
            raise RuntimeError(os.strerror(ctypes.get_errno()))
        return plain(address, port)

    return _in_a_child(do)
