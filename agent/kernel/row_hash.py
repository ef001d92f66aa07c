"""The hash by which the programs know that a row is of its key: the kernel recycles rows while programs read them."""

import struct

_WORDS = struct.Struct("=4Q")
_MASK = (1 << 64) - 1


def hash_words(data: bytes) -> int:
    """A hash of 64 bits over 32 bytes, as `hash_words()` in bpf/lookup.h computes it."""
    mixed = 0xCBF29CE484222325
    for word in _WORDS.unpack(data):
        mixed = ((mixed ^ word) * 0x9E3779B97F4A7C15) & _MASK
        mixed ^= mixed >> 32
    return mixed
