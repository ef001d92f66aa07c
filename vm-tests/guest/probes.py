"""What a kernel has, found by using it: each probe raises where the kernel has not. By the names in kernels.toml."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import bpf_calls
from pyroute2 import IPRoute

Probe = Callable[[], object]

# enum bpf_prog_type, with enum bpf_attach_type.
_SOCK_OPS, _TC, _SK_LOOKUP = (13, 3), (3, 46), (30, 36)
_CONNECT4 = (18, 10)
_CGROUP_HOOKS = {
    "connect4": _CONNECT4,
    "connect6": (18, 11),
    "sendmsg4": (18, 14),
    "sendmsg6": (18, 15),
    "recvmsg4": (18, 19),
    "recvmsg6": (18, 20),
    "getpeername4": (18, 29),
    "getpeername6": (18, 30),
    "sock_ops": _SOCK_OPS,
    "getsockopt": (25, 21),
    "sock_create": (9, 2),
    "sock_release": (9, 34),
    "skb egress": (8, 1),
    "connect_unix": (18, 49),
}
# Helpers by their numbers, with what they are given in the first register; None: the context that is there.
_SET_RETVAL, _NETNS_COOKIE, _SOCKET_COOKIE, _ANCESTOR = (187, -111), (122, None), (46, None), (123, 1)
_HELPERS = {
    "set_retval in connect4": (_CONNECT4, _SET_RETVAL),
    "get_netns_cookie in connect4": (_CONNECT4, _NETNS_COOKIE),
    "get_netns_cookie in sock_ops": (_SOCK_OPS, _NETNS_COOKIE),
    "get_socket_cookie in connect4": (_CONNECT4, _SOCKET_COOKIE),
    "get_current_ancestor_cgroup_id in connect4": (_CONNECT4, _ANCESTOR),
    "get_current_ancestor_cgroup_id in sock_ops": (_SOCK_OPS, _ANCESTOR),
    "get_current_ancestor_cgroup_id in sk_lookup": (_SK_LOOKUP, _ANCESTOR),
}
# enum bpf_map_type, sizes of key and value, rows, flags: BPF_F_NO_PREALLOC is 1, BPF_F_MMAPABLE 1024.
_MAPS = {
    "hash": (1, 4, 4, 8, 1),
    "per-CPU hash": (5, 4, 4, 8, 1),
    "LRU hash": (9, 4, 4, 8, 0),
    "mmapable array": (2, 4, 8, 8, 1024),
    "ring buffer": (27, 0, 0, 4096, 0),
    "socket hash": (18, 4, 4, 8, 0),
}
_SK_STORAGE = 24
_DEVICES: dict[str, dict[str, int | str]] = {
    "veth": {},
    "wireguard": {},
    "vxlan": {"vxlan_id": 7},
    "geneve": {"geneve_id": 7, "geneve_remote": "192.0.2.1"},
    "netkit": {},
}
_SO_NETNS_COOKIE, _TCP_ULP, _IPPROTO_MPTCP, _NR_IO_URING_SETUP = 71, 31, 262, 425


def probes() -> dict[str, Probe]:
    """All of them."""
    return {
        "BTF of the kernel": partial(_read, "/sys/kernel/btf/vmlinux"),
        "BTF of modules": _module_btf,
        "bounded loop": _bounded_loop,
        **{f"map: {name}": partial(_map, *arguments) for name, arguments in _MAPS.items()},
        "map: socket storage": lambda: os.close(bpf_calls.create_socket_storage(_SK_STORAGE)),
        **{f"cgroup link: {name}": partial(_cgroup_link, *hook) for name, hook in _CGROUP_HOOKS.items()},
        "network namespace link: sk_lookup": _netns_link,
        "device link: tcx": _tcx_link,
        **{f"helper: {name}": partial(_helper, *arguments) for name, arguments in _HELPERS.items()},
        **{f"device: {kind}": partial(_device, kind) for kind in _DEVICES},
        "socket: SO_NETNS_COOKIE": _netns_cookie,
        "socket: MPTCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP).close(),
        "socket: TLS": _tls,
        "socket: destroyed by sock_diag": _destroyed,
        "io_uring": _io_uring,
        "ESP with AES-GCM": _esp,
        "nftables tproxy": _tproxy,
        "sysctl tcp_migrate_req": partial(_read, "/proc/sys/net/ipv4/tcp_migrate_req"),
        "cgroup.kill": _cgroup_kill,
    }


def _read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _module_btf() -> None:
    _run("modprobe", "wireguard")
    _read("/sys/kernel/btf/wireguard")


def _bounded_loop() -> None:
    """Add 1 to a register while it is less than 10: BPF_JMP | BPF_JLT, two instructions back."""
    loop = bpf_calls.set_register(6, 0) + bpf_calls.instruction(0x07, 6, 0, 1) + bpf_calls.instruction(0xA5, 6, -2, 10)
    os.close(bpf_calls.load(*_CONNECT4, bpf_calls.returning(1, loop)))


def _map(kind: int, key: int, value: int, rows: int, flags: int) -> None:
    os.close(bpf_calls.create_map(kind, key, value, rows, flags))


@contextmanager
def _program(hook: tuple[int, int], *before: bytes) -> Iterator[int]:
    program = bpf_calls.load(*hook, bpf_calls.returning(1, *before))
    try:
        yield program
    finally:
        os.close(program)


@contextmanager
def _cgroup() -> Iterator[Path]:
    folder = Path("/sys/fs/cgroup/weft-probe")
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()


def _link(program: int, target: int, attach_type: int) -> None:
    os.close(bpf_calls.link(program, target, attach_type))


def _cgroup_link(kind: int, attach_type: int) -> None:
    with _cgroup() as folder, _program((kind, attach_type)) as program:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _link(program, descriptor, attach_type)
        finally:
            os.close(descriptor)


def _netns_link() -> None:
    with _program(_SK_LOOKUP) as program, Path("/proc/self/ns/net").open() as namespace:
        _link(program, namespace.fileno(), _SK_LOOKUP[1])


def _tcx_link() -> None:
    with _program(_TC) as program:
        _link(program, socket.if_nametoindex("lo"), _TC[1])


def _helper(hook: tuple[int, int], helper: tuple[int, int | None]) -> None:
    number, argument = helper
    given = [] if argument is None else [bpf_calls.set_register(1, argument)]
    with _program(hook, *given, bpf_calls.call(number)):
        pass


def _device(kind: str) -> None:
    with IPRoute() as netlink:
        netlink.link("add", ifname="weft-probe", kind=kind, **_DEVICES[kind])
        netlink.link("del", ifname="weft-probe")


def _netns_cookie() -> None:
    with socket.socket() as made:
        made.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)


@contextmanager
def _connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        yield client


def _tls() -> None:
    with _connection() as client:
        client.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")


def _destroyed() -> None:
    with _connection() as client:
        client.settimeout(20)
        _run("ss", "--kill", "--tcp", "dst", "127.0.0.1", "dport", "=", str(client.getpeername()[1]))
        try:
            client.recv(1)
        except ConnectionAbortedError:
            return
        raise OSError("the connection goes on")


def _io_uring() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(_NR_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    os.close(ring)


def _esp() -> None:
    selector = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x77")
    key = "0x" + 20 * "ab"
    _run("ip", "xfrm", "state", "add", *selector, "mode", "transport", "aead", "rfc4106(gcm(aes))", key, "128")
    _run("ip", "xfrm", "state", "delete", *selector)


def _tproxy() -> None:
    chain = "chain c { type filter hook prerouting priority mangle; tcp dport 7 tproxy to 127.0.0.1:7; }"
    _run("nft", "-f", "-", text=f"table ip weft_probe {{ {chain}; }}\n")
    _run("nft", "delete", "table", "ip", "weft_probe")


def _cgroup_kill() -> None:
    with _cgroup() as folder:
        (folder / "cgroup.kill").write_text("1")
