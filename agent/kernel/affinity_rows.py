"""Encodes and decodes rows of affinity entries, UDP choices and UDP sockets; their layouts are in `abi.py`."""

from agent.ir.tables import AffinityEntry, AffinityKey, Protocol, UdpTarget
from agent.kernel.abi import AFFINITY, BACKEND, LAYOUTS, UDP_PAIR, UDP_PAIRS, UDP_TARGET, Codec

_PAIRS_SIZE = UDP_PAIRS * UDP_PAIR.size


def encode_udp_target(key: UdpTarget) -> bytes:
    """A key of `weft_udp_choices`."""
    return UDP_TARGET.pack(key.cookie, key.address, key.port)


def latest_pair(row: bytes, address: bytes, port: int) -> AffinityEntry | None:
    """The backend of the latest pair of a frontend in a row of `weft_udp_sockets`; empty: a socket without pairs."""
    found = [
        (sent, backend, backend_port)
        for original, backend, original_port, backend_port, sent in UDP_PAIR.iter_unpack(row[:_PAIRS_SIZE])
        if (original, original_port) == (address, port)
    ]
    return AffinityEntry(*max(found)[1:]) if found else None


def encode_affinity_key(key: AffinityKey) -> bytes:
    """A key of `weft_affinity`."""
    return AFFINITY.pack(key.service_id, key.cgroup_id, key.port, key.protocol, key.family)


def decode_affinity_key(row: bytes) -> AffinityKey:
    """The inverse of `encode_affinity_key`."""
    service_id, cgroup_id, port, protocol, family = AFFINITY.unpack(row)
    return AffinityKey(service_id, cgroup_id, port, Protocol(protocol), family)


def encode_affinity_entry(_key: object, row: AffinityEntry) -> bytes:
    """A row of `weft_udp_choices` or `weft_affinity`."""
    return BACKEND.pack(row.address, row.port, row.used)


def decode_affinity_entry(row: bytes) -> AffinityEntry:
    """The inverse of `encode_affinity_entry`."""
    return AffinityEntry(*BACKEND.unpack(row))


UDP_CHOICE_CODEC: Codec[UdpTarget, AffinityEntry] = Codec(
    LAYOUTS["weft_udp_choices"],
    encode_udp_target,
    lambda row: UdpTarget(*UDP_TARGET.unpack(row)),
    encode_affinity_entry,
    decode_affinity_entry,
)
AFFINITY_CODEC: Codec[AffinityKey, AffinityEntry] = Codec(
    LAYOUTS["weft_affinity"], encode_affinity_key, decode_affinity_key, encode_affinity_entry, decode_affinity_entry
)
