"""Typed bindings for the part of libbpf that weft uses. Every failure is an `OSError` with the errno of the kernel.

libbpf 1.x returns a negative errno. Batch calls need kernel 5.6, cgroup links 5.7.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ENOENT, ENOSPC
from functools import cache
from pathlib import Path

ANY = 0
NO_EXIST = 1
_CALLS = (
    "bpf_prog_load",
    "bpf_map_create",
    "bpf_link_create",
    "bpf_link_update",
    "bpf_link_detach",
    "bpf_obj_pin",
    "bpf_obj_get",
    "bpf_obj_get_info_by_fd",
    "bpf_map_lookup_elem",
    "bpf_map_update_elem",
    "bpf_map_delete_elem",
    "bpf_map_get_next_key",
    "bpf_map_lookup_batch",
    "bpf_map_update_batch",
    "ring_buffer__consume",
)
# struct bpf_link_info for a cgroup link and for one of a network namespace, struct bpf_prog_info up to verified_insns
# with its id, xlated_prog_len and verified_insns (linux/bpf.h).
_LINK_INFO = struct.Struct("=III4xQI12x")
_NETNS_LINK_INFO = struct.Struct("=III4xII16x")
_PROG_INFO = struct.Struct("=4xI8x4xI192xI")
_INSTRUCTION_BYTES = 8
# struct bpf_prog_load_opts up to expected_attach_type, struct bpf_map_create_opts up to map_flags (bpf/bpf.h); the size
# stands in front.
_LOAD_OPTIONS = struct.Struct("=Q4xI")
_MAP_OPTIONS = struct.Struct("=Q20xI")

_SAMPLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A cgroup link: its program and its cgroup. `cgroup_id` is 0 once that cgroup is gone."""

    link_id: int
    program_id: int
    cgroup_id: int
    attach_type: int


@dataclass(frozen=True, slots=True)
class NetnsLinkInfo:
    """A link in a network namespace: its program, and the inode number of the namespace, 0 once that is gone."""

    program_id: int
    netns: int


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A loaded program: the number of instructions as the kernel translated them, and the number that the verifier
    processed (kernel 5.16, before that 0).
    """

    program_id: int
    translated: int
    verified: int


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name in _CALLS:
        getattr(library, name).restype = ctypes.c_int
    library.ring_buffer__new.restype = ctypes.c_void_p
    return library


def _call(name: str, *args: object, subject: object = None) -> int:
    result = int(getattr(_library(), name)(*args))
    if result < 0:
        text = f"{name}: {os.strerror(-result)}"
        raise OSError(-result, f"{text} ({subject})" if subject else text)
    return result


def load_program(program_type: int, attach_type: int, code: bytes) -> int:
    """The descriptor of a program of these instructions; `EINVAL` or `EACCES` when the kernel refuses it."""
    options = _LOAD_OPTIONS.pack(_LOAD_OPTIONS.size, attach_type)
    return _call("bpf_prog_load", program_type, None, b"GPL", code, len(code) // _INSTRUCTION_BYTES, options)


def create_map(kind: int, key_size: int, value_size: int, capacity: int, flags: int = 0) -> int:
    """The descriptor of a new map of a type of enum bpf_map_type."""
    options = _MAP_OPTIONS.pack(_MAP_OPTIONS.size, flags)
    return _call("bpf_map_create", kind, None, key_size, value_size, capacity, options)


def pin(fd: int, path: Path) -> None:
    """Pin a BPF object, so that it outlives this process."""
    _call("bpf_obj_pin", fd, os.fsencode(path), subject=path)


def get(path: Path) -> int:
    """A new descriptor of the object pinned at `path`."""
    return _call("bpf_obj_get", os.fsencode(path), subject=path)


def link_create(program: int, target: int, attach_type: int) -> int:
    """Attach a program to a cgroup or a network namespace, given by a descriptor. The link allows other programs at the
    same cgroup and at those below it (BPF_F_ALLOW_MULTI).
    """
    return _call("bpf_link_create", program, target, attach_type, None)


def link_update(link: int, program: int) -> None:
    """Replace the program of a link atomically."""
    _call("bpf_link_update", link, program, None)


def link_detach(link: int) -> None:
    """End a link at once: the kernel frees a link that nobody refers to only some time later (kernel 5.9)."""
    _call("bpf_link_detach", link)


def _info(fd: int, layout: struct.Struct) -> tuple[int, ...]:
    buffer = ctypes.create_string_buffer(layout.size)
    length = ctypes.c_uint32(layout.size)
    _call("bpf_obj_get_info_by_fd", fd, buffer, ctypes.byref(length))
    return layout.unpack(buffer.raw)


def link_info(link: int) -> LinkInfo:
    """The program and the cgroup of a link."""
    _, link_id, program_id, cgroup_id, attach_type = _info(link, _LINK_INFO)
    return LinkInfo(link_id, program_id, cgroup_id, attach_type)


def netns_link_info(link: int) -> NetnsLinkInfo:
    """The program and the network namespace of a link."""
    _, _, program, netns, _ = _info(link, _NETNS_LINK_INFO)
    return NetnsLinkInfo(program, netns)


def program_info(program: int) -> ProgramInfo:
    """The information of the kernel about a loaded program."""
    program_id, translated_bytes, verified = _info(program, _PROG_INFO)
    return ProgramInfo(program_id, translated_bytes // _INSTRUCTION_BYTES, verified)


def program_id(program: int) -> int:
    """The id of a loaded program."""
    return program_info(program).program_id


def lookup(table: int, key: bytes, size: int) -> bytes:
    """One value of `size` bytes. For a per-CPU map that is 8 bytes, times the possible CPUs."""
    buffer = ctypes.create_string_buffer(size)
    _call("bpf_map_lookup_elem", table, key, buffer)
    return buffer.raw


def update(table: int, key: bytes, value: bytes, flags: int = ANY) -> None:
    """Write one row. With `NO_EXIST`, an existing row is `EEXIST`."""
    _call("bpf_map_update_elem", table, key, value, ctypes.c_uint64(flags))


def delete(table: int, key: bytes) -> None:
    """Delete one row; a row that does not exist is a success."""
    try:
        _call("bpf_map_delete_elem", table, key)
    except OSError as error:
        if error.errno != ENOENT:
            raise


def keys(table: int, key_size: int) -> Iterator[bytes]:
    """All keys of a hash table. Delete none meanwhile: after a deleted key the kernel starts from the first one."""
    current: bytes | None = None
    while True:
        following = ctypes.create_string_buffer(key_size)
        try:
            _call("bpf_map_get_next_key", table, current, following)
        except FileNotFoundError:
            return
        yield (current := following.raw)


def update_batch(table: int, keys: bytes, values: bytes, count: int) -> None:
    """Write `count` rows in order; the rows before a failed one are written."""
    number = ctypes.c_uint32(count)
    if count:
        _call("bpf_map_update_batch", table, keys, values, ctypes.byref(number), None)


def lookup_batches(table: int, key_size: int, value_size: int, chunk: int) -> Iterator[tuple[bytes, bytes]]:
    """All rows as runs of keys and values, at most `chunk` rows in each.

    The kernel returns the rows of a hash table by bucket, so `chunk` must hold the largest bucket; it is doubled when
    it does not.
    """
    position = ctypes.create_string_buffer(max(key_size, 4))
    start = None
    while True:
        keys, values = ctypes.create_string_buffer(chunk * key_size), ctypes.create_string_buffer(chunk * value_size)
        number = ctypes.c_uint32(chunk)
        out = ctypes.create_string_buffer(position.raw, len(position))
        try:
            _call("bpf_map_lookup_batch", table, start, out, keys, values, ctypes.byref(number), None)
            last = False
        except OSError as error:
            if error.errno == ENOSPC:
                chunk *= 2
                continue
            if error.errno != ENOENT:
                raise
            last = True
        yield keys.raw[: number.value * key_size], values.raw[: number.value * value_size]
        if last:
            return
        start = position = out


class RingReader:
    """Reads a ring buffer. There can be one reader only: it consumes the records."""

    def __init__(self, ring: int, take: Callable[[bytes], None]) -> None:
        """`take` gets each record in order; it must not raise."""

        def sample(_context: int, data: int, size: int) -> int:
            take(ctypes.string_at(data, size))
            return 0

        self._sample = _SAMPLE(sample)  # libbpf keeps no reference
        self._reader = ctypes.c_void_p(_library().ring_buffer__new(ring, self._sample, None, None))
        if not self._reader:
            raise OSError(ctypes.get_errno(), "ring_buffer__new failed")

    def consume(self) -> int:
        """Read all records, without waiting; returns their number."""
        return _call("ring_buffer__consume", self._reader)

    def close(self) -> None:
        """Unmap the ring."""
        _library().ring_buffer__free(self._reader)
