"""Runs a command as on a kernel that lacks something of BPF or sock_diag: what is listed is refused as unknown.

`python tests/support/datapath/older_kernel.py --helper 187 --program 30 -- COMMAND...`. The command's bpf() calls, and
its children's, wait for this process (seccomp's user notification, kernel 5.5), which reads what they ask and answers
`EINVAL`, as a kernel does that never heard of it, or lets the kernel answer.
"""

import argparse
import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from errno import EINVAL, EPROTONOSUPPORT
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
# The numbers of seccomp() and bpf() by machine (asm/unistd.h); linux/seccomp.h, linux/filter.h.
SECCOMP, BPF, SOCKET = {"x86_64": (317, 321, 41), "aarch64": (277, 280, 198)}[platform.machine()]
NO_NEW_PRIVS, SET_MODE_FILTER, NEW_LISTENER = 38, 1, 1 << 3
ALLOW, NOTIFY, FAIL = 0x7FFF0000, 0x7FC00000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16  # struct seccomp_data
THIRD_ARGUMENT_AT = FIRST_ARGUMENT_AT + 16
NOTIFICATION = struct.Struct("=QIIiIQ6Q")
ANSWER = struct.Struct("=QqiI")
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
MAP_CREATE, PROGRAM_LOAD = 0, 5  # enum bpf_cmd
HELPER_CALL = 0x85
AF_NETLINK, SOCK_DIAG = 16, 4
MOUNT_NAMESPACE = 0x20000
MS_REC_PRIVATE = 0x44000
# bpf_set_retval came with 5.18, bpf_skc_to_tcp_sock and sk_lookup with 5.9.
LINUX_5_8 = ["--helper", "187", "--helper", "137", "--program", "30"]


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is refused: numbers of linux/bpf.h. A hook is a type of program and one of attachment."""

    helpers: frozenset[int] = frozenset()
    programs: frozenset[int] = frozenset()
    hooks: frozenset[tuple[int, int]] = frozenset()
    maps: frozenset[int] = frozenset()
    map_flags: int = 0
    commands: frozenset[int] = frozenset()

    def refuses(self, command: int, memory: "Memory", address: int) -> bool:
        """Whether a bpf() call needs a feature that this kernel lacks; `address` is that of its union bpf_attr."""
        if command in self.commands:
            return True
        if command == MAP_CREATE:
            kind, flags = struct.unpack("=I12xI", memory.read(address, 20))
            return kind in self.maps or bool(flags & self.map_flags)
        return command == PROGRAM_LOAD and self._refuses_program(memory, address)

    def _refuses_program(self, memory: "Memory", address: int) -> bool:
        kind, count, code, attach = struct.unpack("=IIQ52xI", memory.read(address, 72))
        called = {
            number
            for operation, registers, _, number in struct.iter_unpack("=BBhi", memory.read(code, 8 * count))
            if operation == HELPER_CALL and not registers >> 4
        }
        return kind in self.programs or (kind, attach) in self.hooks or bool(called & self.helpers)


class Memory:
    """Another process's memory."""

    def __init__(self, process: int) -> None:
        self._path = Path("/proc", str(process), "mem")

    def read(self, address: int, size: int) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            file.seek(address)
            return file.read(size)


def install(without_sock_diag: bool) -> int:
    """Have this process's bpf() calls ask first; where they do. A socket for sock_diag fails without asking."""
    socket_calls = [
        (JUMP_IF_EQUAL, 0, 4, SOCKET),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_IF_EQUAL, 0, 2, AF_NETLINK),
        (LOAD, 0, 0, THIRD_ARGUMENT_AT),
        (JUMP_IF_EQUAL, 1, 0, SOCK_DIAG),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, FAIL | EPROTONOSUPPORT),
    ]
    steps = [(LOAD, 0, 0, NUMBER_AT), (JUMP_IF_EQUAL, 0, 1, BPF), (RETURN, 0, 0, NOTIFY)]
    steps += socket_calls if without_sock_diag else [(RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = int(LIBC.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def supervise(listener: int, lacking: Lacking, child: int) -> int:
    """Answer until no process is left that could ask; the child's exit code. It is reaped at once: until Linux 6.11 a
    zombie is one that could ask.
    """
    poll, ended, code = select.poll(), os.pidfd_open(child), None
    poll.register(listener, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        events = dict(poll.poll())
        nobody_is_left = bool(events.get(listener, 0) & ~select.POLLIN)
        if code is None and (ended in events or nobody_is_left):
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            poll.unregister(ended)
        if code is not None and nobody_is_left:
            return code
        if not events.get(listener, 0) & select.POLLIN:
            continue
        buffer = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, buffer)
            call, process, _, _, _, _, command, address, *_ = NOTIFICATION.unpack(buffer)
            refused = lacking.refuses(command, Memory(process), address)
            answer = ANSWER.pack(call, 0, -EINVAL, 0) if refused else ANSWER.pack(call, 0, 0, CONTINUE)
            fcntl.ioctl(listener, SEND, answer)
        except FileNotFoundError:  # who asked was killed
            continue


def hide_btf() -> None:
    """Hide the kernel's BTF, in a mount namespace of this process."""
    if LIBC.unshare(MOUNT_NAMESPACE) or LIBC.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mounts of its own")
    if LIBC.mount(b"none", b"/sys/kernel/btf", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "/sys/kernel/btf")


def as_on(options: list[str], *command: object) -> list[str]:
    """The command that runs `command` as on a kernel without these features."""
    return [sys.executable, __file__, *options, "--", *map(str, command)]


def loader(options: list[str], pins: Path, cgroup: Path) -> list[str]:
    """The command that prepares the programs as on such a kernel."""
    return as_on(options, sys.executable, "-m", "agent.kernel.loader", "--pins", pins, "--cgroup", cgroup)


def run(command: list[str], lacking: Lacking, without_sock_diag: bool) -> int:
    """The command's exit code."""
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        here.close()
        # Sent before any bpf() call, so nobody waits for whoever receives it.
        listener = install(without_sock_diag)
        socket.send_fds(there, [b"x"], [listener])
        os.close(listener)
        there.close()
        os.execvp(command[0], command)
    there.close()
    _, (listener, *_), *_ = socket.recv_fds(here, 1, 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.kill(child, received))
    return supervise(listener, lacking, child)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("helper", "program", "map", "command"):
        parser.add_argument(f"--{name}", type=int, action="append", default=[])
    parser.add_argument("--hook", type=int, nargs=2, action="append", default=[], metavar=("PROGRAM", "ATTACHMENT"))
    parser.add_argument("--map-flags", type=int, default=0)
    parser.add_argument("--without-sock-diag", action="store_true")
    parser.add_argument("--without-btf", action="store_true")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    if options.without_btf:
        hide_btf()
    lacking = Lacking(
        frozenset(options.helper),
        frozenset(options.program),
        frozenset((kind, attachment) for kind, attachment in options.hook),
        frozenset(options.map),
        options.map_flags,
        frozenset(options.command),
    )
    return run(options.argv, lacking, options.without_sock_diag)


if __name__ == "__main__":
    sys.exit(main())
