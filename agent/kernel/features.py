"""The kernel features that weft uses. The loader tests each by trying it, not by the kernel version: distributions add
features to older kernels, and leave others out by configuration.

Versions and commits are of the mainline kernel (docs.ebpf.io has the same table).
"""

import os
import platform
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from errno import EACCES, EBADF, EINVAL, ENOENT, EOPNOTSUPP, EPROTONOSUPPORT
from typing import Any

from agent.kernel import libbpf
from agent.kernel.btf import socket_offsets
from agent.kernel.programs import GUARD, PROGRAMS, Program

_ENOTSUPP = 524  # of the kernel alone
_ABSENT = frozenset((EINVAL, EOPNOTSUPP, _ENOTSUPP))
_HASH, _ARRAY, _RING_BUFFER = 1, 2, 27  # enum bpf_map_type
_MMAPABLE = 1 << 10
_NO_TARGET = -1
_INSTRUCTION = struct.Struct("=BBhi")
_CALL, _SET, _EXIT = 0x85, 0xB7, 0x95
_ARGUMENTS = range(1, 6)
# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h: a header, and struct inet_diag_req_v2.
_NETLINK_SOCK_DIAG, _SOCK_DESTROY, _REQUEST_WITH_ANSWER, _ANY_COOKIE = 4, 21, 5, 0xFFFFFFFF
_DESTROY = struct.Struct("=IHHII BB2xI 2s2x 4s12x 16x I II")
_IP_FREEBIND = 15

_BY_NAME = {program.name: program for program in PROGRAMS}
_DECIDING = tuple(_BY_NAME[f"weft_{hook}"] for hook in ("connect4", "connect6", "sendmsg4", "sendmsg6"))
_TRANSLATING = tuple(_BY_NAME[f"weft_{hook}"] for hook in ("recvmsg4", "recvmsg6"))
_SOCK_OPS = _BY_NAME["weft_sock_ops"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A kernel feature. `since` is the kernel that introduced it, for messages. `without` describes how weft works
    where it is missing; empty: weft requires it.
    """

    name: str
    since: str
    is_there: Callable[[], bool]
    without: str = ""


def _code(*instructions: tuple[int, int, int]) -> bytes:
    """Instructions of an operation, a register and a number. Two more return 1, which lets a call continue."""
    return b"".join(
        _INSTRUCTION.pack(code, to, 0, number) for code, to, number in (*instructions, (_SET, 0, 1), (_EXIT, 0, 0))
    )


def _done(attempt: Callable[[], int], also: tuple[int, ...] = ()) -> bool:
    """Whether an attempt succeeds; an errno of `also` counts as success. Raises `OSError` for errnos other than those
    of an unknown feature, such as `EPERM`.
    """
    try:
        os.close(attempt())
    except OSError as error:
        if error.errno in also:
            return True
        if error.errno in _ABSENT:
            return False
        raise
    return True


def _hook(program: Program) -> Callable[[], bool]:
    """Whether a program that only returns 1 loads for this hook."""
    return lambda: _done(lambda: libbpf.load_program(program.program_type, program.attach_type, _code()))


def _helper(number: int, *programs: Program) -> Callable[[], bool]:
    """Whether a program that calls the helper (enum bpf_func_id) loads. Its arguments are zeros: where the helper takes
    pointers, the verifier refuses with `EACCES`, after it has found the helper. An unknown helper is `EINVAL`.
    """
    code = _code(*((_SET, register, 0) for register in _ARGUMENTS), (_CALL, 0, number))

    def is_known(program: Program) -> bool:
        if not _hook(program)():  # a feature of its own
            return True
        return _done(lambda: libbpf.load_program(program.program_type, program.attach_type, code), also=(EACCES,))

    return lambda: all(map(is_known, programs))


def _map(*shape: int) -> Callable[[], bool]:
    """Whether a map of this type can be created."""
    return lambda: _done(lambda: libbpf.create_map(*shape))


def _link(program: Program) -> Callable[[], bool]:
    """Whether the kernel has this type of link: it refuses a link without a target for the target, and not for the
    type.
    """

    def is_there() -> bool:
        loaded = libbpf.load_program(program.program_type, program.attach_type, _code())
        try:
            return _done(lambda: libbpf.link_create(loaded, _NO_TARGET, program.attach_type), also=(EBADF,))
        finally:
            os.close(loaded)

    return lambda: _hook(program)() and is_there()


def _reads_batches() -> bool:
    """Whether a hash table can be read by one batch call."""
    table = libbpf.create_map(_HASH, 4, 4, 1)
    try:
        return not any(keys for keys, _ in libbpf.lookup_batches(table, 4, 4, 1))
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    finally:
        os.close(table)


def _destroys_sockets() -> bool:
    """Whether the kernel destroys a UDP socket of this process, which has no peer. Raises `OSError`, without
    CAP_NET_ADMIN.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ended:
        ended.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # the loopback may be down
        ended.bind(("127.0.0.1", 0))
        try:
            answer = _destroy(ended)
        except OSError as error:
            if error.errno == EPROTONOSUPPORT:
                return False
            raise
    if answer in (0, ENOENT, *_ABSENT):  # ENOENT: this kernel lists no UDP sockets
        return not answer
    raise OSError(answer, f"SOCK_DESTROY: {os.strerror(answer)}")


def _destroy(ended: socket.socket) -> int:
    """Request SOCK_DESTROY for a socket; returns the errno of the answer."""
    address, port = ended.getsockname()
    header = (_DESTROY.size, _SOCK_DESTROY, _REQUEST_WITH_ANSWER, 1, 0)
    target = (port.to_bytes(2, "big"), socket.inet_aton(address))
    request = _DESTROY.pack(*header, socket.AF_INET, socket.IPPROTO_UDP, 0, *target, 0, _ANY_COOKIE, _ANY_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
        diag.send(request)
        return -int.from_bytes(diag.recv(4096)[16:20], "little", signed=True)


SET_RETVAL, TCP_SOCK, BTF = "bpf_set_retval", "bpf_skc_to_tcp_sock", "kernel BTF"
SK_LOOKUP, SOCK_DESTROY = "sk_lookup", "SOCK_DESTROY"
_NO_ERRNO = "failed connections have no errno in flows and events; the peer's FIN may count as a byte received"

FEATURES = (
    # recvmsg: 983695fa6765; getpeername: 1b66d253610c; sock_ops: 40304b2a1567; connect: d74bad4e74ee;
    # sendmsg: 1cedee13d25a.
    *(Feature(f"{program.name.removeprefix('weft_')} hook", program.since, _hook(program)) for program in PROGRAMS),
    Feature("bpf_get_socket_cookie", "4.18", _helper(46, *_DECIDING, *_TRANSLATING)),
    Feature("BPF_F_MMAPABLE", "5.5", _map(_ARRAY, 4, 8, 1, _MMAPABLE)),  # fc9702273e2e
    Feature("BPF_MAP_LOOKUP_BATCH", "5.6", _reads_batches),  # cb4d03ab499d
    Feature("bpf_get_current_ancestor_cgroup_id", "5.7", _helper(123, *_DECIDING)),  # 0f09abd105da
    Feature("cgroup links", "5.7", _link(_DECIDING[0])),  # af6eea57437a
    Feature("bpf_sk_storage_get", "5.8", _helper(107, *PROGRAMS)),  # 6ac99e8f23d4 (5.2), in these hooks since 5.8
    Feature("ring buffers", "5.8", _map(_RING_BUFFER, 0, 0, os.sysconf("SC_PAGE_SIZE"))),  # 457f44363a88
    Feature(  # b44123b4a3dc
        SET_RETVAL,
        "5.18",
        _helper(187, *_DECIDING),
        "refused connections go to a loopback port that answers RST; refused datagrams of unconnected sockets are lost",
    ),
    Feature(TCP_SOCK, "5.9", _helper(137, _SOCK_OPS), _NO_ERRNO),  # 478cfbdf5f13
    Feature(BTF, "5.4", lambda: bool(socket_offsets()), _NO_ERRNO),  # 341dfcf8d78e, CONFIG_DEBUG_INFO_BTF
    Feature(  # e9ddbb7707ff
        SK_LOOKUP,
        GUARD.since,
        _link(GUARD),
        "connections to a waypoint that do not come from its node's pods are refused by Envoy and not by the kernel; "
        "AuthorizationPolicies have no effect on the pods of this node",
    ),
    Feature(  # 5d77dca82839, CONFIG_INET_DIAG_DESTROY
        SOCK_DESTROY,
        "4.9",
        _destroys_sockets,
        "connected sockets keep a removed backend until their owner closes them",
    ),
)


def missing() -> tuple[Feature, ...]:
    """The features that the running kernel lacks. Needs the privileges of loading. Raises `OSError` without them."""
    return tuple(feature for feature in FEATURES if not feature.is_there())


def named(names: Iterable[str]) -> tuple[Feature, ...]:
    """The features with these names. Raises `ValueError` for an unknown name."""
    wanted = frozenset(names)
    if unknown := wanted - {feature.name for feature in FEATURES}:
        raise ValueError(f"no kernel feature has this name: {', '.join(sorted(unknown))}")
    return tuple(feature for feature in FEATURES if feature.name in wanted)


def requirement(lacking: Iterable[Feature]) -> str:
    """An error message about required features that are missing; empty where none is."""
    needed = [feature for feature in lacking if not feature.without]
    if not needed:
        return ""
    listed = ", ".join(f"{feature.name} (Linux {feature.since})" for feature in needed)
    newest = max(needed, key=lambda feature: tuple(map(int, feature.since.split("."))))
    return f"this kernel, {platform.release()}, lacks what weft needs: {listed}; Linux {newest.since} has all of it"


def presence(lacking: Iterable[Feature]) -> dict[str, int]:
    """The optional features by name: 1 where the kernel has it, else 0."""
    absent = {feature.name for feature in lacking}
    return {feature.name: int(feature.name not in absent) for feature in FEATURES if feature.without}


def document(lacking: Iterable[Feature]) -> dict[str, Any]:
    """The document about the kernel in `weft status`."""
    return {
        "release": platform.release(),
        "missing": [
            {"feature": feature.name, "since": feature.since, "without": feature.without} for feature in lacking
        ],
    }
