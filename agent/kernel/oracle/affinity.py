"""The backend that a socket or a pod had before (bpf/affinity.h)."""

from agent.ir.tables import AffinityEntry, AffinityKey, ServiceRow, SocketAddress, UdpTarget
from agent.kernel.affinity_rows import decode_affinity_entry, encode_affinity_key, encode_udp_target, latest_pair
from agent.kernel.oracle.query import Client, Query, read_slot

_NS_PER_SECOND = 10**9


def affinity_lookup(query: Query, service: ServiceRow, client: Client, columns: range) -> SocketAddress | None:
    """The backend of the entry of this socket, else of this pod, while the slot array has it."""
    slots = [read_slot(query.tables, number) for number in columns]
    there = {(slot.address, slot.port) for slot in slots if not slot.reject}
    for entry in (_affinity_lookup_socket(query), _affinity_lookup_pod(query, service, client)):
        if entry and (entry.address, entry.port) in there:
            return entry.address, entry.port
    return None


def _affinity_lookup_socket(query: Query) -> AffinityEntry | None:
    if pair := latest_pair(query.socket.pairs, query.address, query.port):
        return pair
    key = UdpTarget(query.socket.cookie, query.address, query.port)
    row = query.tables.get("weft_udp_choices", {}).get(encode_udp_target(key))
    return decode_affinity_entry(row) if row and key.cookie else None


def _affinity_lookup_pod(query: Query, service: ServiceRow, client: Client) -> AffinityEntry | None:
    family = 4 if query.is_ipv4 else 6
    key = AffinityKey(service.service_id, client.cgroup_id, query.port, query.protocol, family)
    row = query.tables.get("weft_affinity", {}).get(encode_affinity_key(key))
    if row is None or not service.affinity_seconds:
        return None
    entry = decode_affinity_entry(row)
    return entry if query.socket.now - entry.used <= service.affinity_seconds * _NS_PER_SECOND else None
