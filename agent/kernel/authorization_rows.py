"""The rows of tables that decide who may connect: clients of waypoints, and servers, peers and grants of policies."""

import struct

from agent.ir.authorization import DestinationRow, GrantKey, PeerRow, VerdictCounts
from agent.kernel.abi import (
    ADDRESS,
    DESTINATION,
    GRANT,
    IDENTITY,
    LAYOUTS,
    PEER,
    PROTECTED,
    SERVER,
    U64,
    VERDICT_COUNTS,
    Codec,
)
from agent.kernel.row_hash import hash_words

_CHECKED = struct.Struct("=QQ16s")


def row_check(first: int, second: int, address: bytes) -> int:
    """The hash in a row of an address, as `row_check()` in bpf/authorize.h computes it."""
    return hash_words(_CHECKED.pack(first, second, address))


def encode_server(address: bytes, policy_set: int) -> bytes:
    """A row of `weft_servers`, with the hash by which the program knows that it is of this address."""
    return SERVER.pack(policy_set, row_check(policy_set, 0, address))


def decode_server(row: bytes) -> int:
    """The policy set."""
    return int(SERVER.unpack(row)[0])


def encode_peer(address: bytes, row: PeerRow) -> bytes:
    """A row of `weft_peers`, with its hash as above."""
    return PEER.pack(row.account_id, row.namespace_id, row_check(row.account_id, row.namespace_id, address))


def decode_peer(row: bytes) -> PeerRow:
    """The inverse of `encode_peer`."""
    account_id, namespace_id, _ = PEER.unpack(row)
    return PeerRow(account_id, namespace_id)


def encode_destination(address: bytes, row: DestinationRow) -> bytes:
    """A row of `weft_destinations`, with its hash as above."""
    return DESTINATION.pack(row.policy_set, row.policy, row_check(row.policy_set, row.policy, address))


def decode_destination(row: bytes) -> DestinationRow:
    """The inverse of `encode_destination`."""
    policy_set, policy, _ = DESTINATION.unpack(row)
    return DestinationRow(policy_set, policy)


def encode_identity(cgroup_id: int, row: PeerRow) -> bytes:
    """A row of `weft_identities`, with the cgroup id by which the program knows that it is of this pod."""
    return IDENTITY.pack(row.account_id, row.namespace_id, cgroup_id)


def encode_protected(cgroup_id: int, addresses: tuple[bytes, bytes]) -> bytes:
    """A row of `weft_protected`: an address of each family, with a hash as above."""
    return PROTECTED.pack(*addresses, hash_words(b"".join(addresses)) ^ cgroup_id)


def decode_protected(row: bytes) -> tuple[bytes, bytes]:
    """The inverse of `encode_protected`."""
    ipv4, ipv6, _ = PROTECTED.unpack(row)
    return ipv4, ipv6


def encode_grant_key(key: GrantKey) -> bytes:
    """A key of `weft_grants`."""
    return GRANT.pack(key.policy_set, key.identity, key.port)


def decode_grant_key(row: bytes) -> GrantKey:
    """The inverse of `encode_grant_key`."""
    return GrantKey(*GRANT.unpack(row))


def encode_verdicts(_address: bytes, counts: VerdictCounts) -> bytes:
    """A row of `weft_verdicts`."""
    return VERDICT_COUNTS.pack(*counts)


def decode_verdicts(row: bytes) -> VerdictCounts:
    """The inverse of `encode_verdicts`."""
    return VerdictCounts(*VERDICT_COUNTS.unpack(row))


def _same(address: bytes) -> bytes:
    return address


def _one(_key: object, _row: bool) -> bytes:
    return U64.pack(1)


def _true(_row: bytes) -> bool:
    return True


def _number(row: bytes) -> int:
    return int(U64.unpack(row)[0])


# The programs only check that a row of these two exists.
CLIENT_CODEC: Codec[bytes, bool] = Codec(LAYOUTS["weft_clients"], ADDRESS.pack, _same, _one, _true)
GRANT_CODEC: Codec[GrantKey, bool] = Codec(LAYOUTS["weft_grants"], encode_grant_key, decode_grant_key, _one, _true)
AUDITED_CODEC: Codec[bytes, int] = Codec(LAYOUTS["weft_audited"], ADDRESS.pack, _same, encode_server, decode_server)
AUDITED_GRANT_CODEC: Codec[GrantKey, bool] = Codec(
    LAYOUTS["weft_audited_grants"], encode_grant_key, decode_grant_key, _one, _true
)
VERDICTS_CODEC: Codec[bytes, VerdictCounts] = Codec(
    LAYOUTS["weft_verdicts"], ADDRESS.pack, _same, encode_verdicts, decode_verdicts
)
DESTINATION_GRANT_CODEC: Codec[GrantKey, bool] = Codec(
    LAYOUTS["weft_destination_grants"], encode_grant_key, decode_grant_key, _one, _true
)
DESTINATION_CODEC: Codec[bytes, DestinationRow] = Codec(
    LAYOUTS["weft_destinations"], ADDRESS.pack, _same, encode_destination, decode_destination
)
IDENTITY_CODEC: Codec[int, PeerRow] = Codec(LAYOUTS["weft_identities"], U64.pack, _number, encode_identity, decode_peer)
SERVER_CODEC: Codec[bytes, int] = Codec(LAYOUTS["weft_servers"], ADDRESS.pack, _same, encode_server, decode_server)
PEER_CODEC: Codec[bytes, PeerRow] = Codec(LAYOUTS["weft_peers"], ADDRESS.pack, _same, encode_peer, decode_peer)
PROTECTED_CODEC: Codec[int, tuple[bytes, bytes]] = Codec(
    LAYOUTS["weft_protected"], U64.pack, _number, encode_protected, decode_protected
)
