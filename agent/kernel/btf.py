"""Offsets in structures of the running kernel, from its BTF: no stable interface exposes these members."""

import ctypes
from collections.abc import Iterator
from functools import cache

_KIND_STRUCT, _KIND_UNION = 4, 5  # linux/btf.h


class _Type(ctypes.Structure):
    """`struct btf_type`; members follow it."""

    _fields_ = (("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


class _Member(ctypes.Structure):
    """`struct btf_member`; the offset is in bits, its top byte is a bit field's width."""

    _fields_ = (("name", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32))


class _KernelTypes:
    """The BTF of the running kernel. Raises `OSError` when there is none."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        library.btf__type_by_id.restype = ctypes.c_void_p
        library.btf__name_by_offset.restype = ctypes.c_char_p
        self._library = library
        self._btf = ctypes.c_void_p(library.btf__load_vmlinux_btf())
        if not self._btf:
            raise OSError(ctypes.get_errno(), "this kernel has no BTF")

    def close(self) -> None:
        """Free the memory, some megabytes."""
        self._library.btf__free(self._btf)

    def struct(self, name: bytes) -> int:
        """The type id of a structure, negative when there is none."""
        return int(self._library.btf__find_by_name_kind(self._btf, name, _KIND_STRUCT))

    def _members(self, number: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, type and offset in bytes of each member of a structure or union; nothing for any other type."""
        address = self._library.btf__type_by_id(self._btf, number)
        found = _Type.from_address(address)
        if found.info >> 24 & 0x1F not in (_KIND_STRUCT, _KIND_UNION):
            return
        members = (_Member * (found.info & 0xFFFF)).from_address(address + ctypes.sizeof(_Type))
        for member in members:
            name = self._library.btf__name_by_offset(self._btf, member.name)
            yield name, member.type, (member.offset & 0xFFFFFF) // 8

    def offset(self, number: int, wanted: bytes) -> int | None:
        """The offset of a member, also of one in an anonymous structure or union; None when there is none."""
        for name, kind, offset in self._members(number):
            if name == wanted:
                return offset
            inner = self.offset(kind, wanted) if not name else None
            if inner is not None:
                return offset + inner
        return None


@cache
def socket_offsets() -> dict[str, int]:
    """Offsets in `struct sock` that bpf/tcp_lifecycle.h reads, by the names of their defines; empty without BTF."""
    try:
        types = _KernelTypes()
    except OSError:
        return {}
    try:
        found = {
            "WEFT_SK_ERR": types.offset(types.struct(b"sock"), b"sk_err"),
            # The first member of struct sock is its struct sock_common.
            "WEFT_SK_FLAGS": types.offset(types.struct(b"sock_common"), b"skc_flags"),
        }
    finally:
        types.close()
    return {name: offset for name, offset in found.items() if offset}
