"""bpf(2) without a library: programs as instructions, maps and links by numbers. Failures are `OSError`."""

import ctypes
import os
import struct

_NR_BPF = 321  # x86_64
_MAP_CREATE, _PROG_LOAD, _BTF_LOAD, _LINK_CREATE = 0, 5, 18, 28
_LIBC = ctypes.CDLL(None, use_errno=True)
_INTEGER = 1  # the type that `_btf` describes
_LOG_BYTES = 1 << 16


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(160, b"\0"), 160)
    result = int(_LIBC.syscall(_NR_BPF, command, buffer, len(buffer)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def instruction(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """`struct bpf_insn`; the destination register is in the low half of `registers`."""
    return struct.pack("=BBhi", code, registers, offset, immediate)


def set_register(number: int, value: int) -> bytes:
    """A register takes a number (BPF_ALU64 | BPF_MOV | BPF_K)."""
    return instruction(0xB7, number, 0, value)


def call(helper: int) -> bytes:
    """Call a helper by its number in linux/bpf.h."""
    return instruction(0x85, 0, 0, helper)


def returning(value: int, *before: bytes) -> bytes:
    """A program that does something and returns a number."""
    return b"".join(before) + set_register(0, value) + instruction(0x95)


def load(kind: int, attach_type: int, code: bytes) -> int:
    """A program's descriptor (BPF_PROG_LOAD). The verifier's words are in the error."""
    code_buffer = ctypes.create_string_buffer(code, len(code))
    licence, log = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(_LOG_BYTES)
    head = struct.pack("=IIQQ", kind, len(code) // 8, ctypes.addressof(code_buffer), ctypes.addressof(licence))
    verifier = struct.pack("=IIQ", 1, _LOG_BYTES, ctypes.addressof(log))
    rest = struct.pack("=II16sII", 0, 0, b"", 0, attach_type)
    try:
        return _bpf(_PROG_LOAD, head + verifier + rest)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {log.value.decode()[-500:]}") from None


def create_map(kind: int, key: int, value: int, rows: int, flags: int = 0) -> int:
    """A map's descriptor (BPF_MAP_CREATE)."""
    return _bpf(_MAP_CREATE, struct.pack("=IIIII", kind, key, value, rows, flags))


def create_socket_storage(kind: int) -> int:
    """A map of kind BPF_MAP_TYPE_SK_STORAGE, which wants BTF and no preallocation (1)."""
    return _bpf(
        _MAP_CREATE, struct.pack("=IIIIIII16sIIIII", kind, 4, 4, 0, 1, 0, 0, b"", 0, _btf(), _INTEGER, _INTEGER, 0)
    )


def _btf() -> int:
    """BTF with one type, a signed integer of 32 bits."""
    names = b"\0int\0"
    kind = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    blob = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(kind), len(kind), len(names)) + kind + names
    buffer = ctypes.create_string_buffer(blob, len(blob))
    return _bpf(_BTF_LOAD, struct.pack("=QQII", ctypes.addressof(buffer), 0, len(blob), 0))


def link(program: int, target: int, attach_type: int) -> int:
    """Attach to a cgroup or network namespace by descriptor, or to a device by index (BPF_LINK_CREATE)."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, target, attach_type, 0))
