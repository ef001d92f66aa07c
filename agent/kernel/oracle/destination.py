"""The policies of a destination, at the client's end (bpf/destination.h)."""

from dataclasses import replace
from fractions import Fraction

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, GrantKey
from agent.ir.tables import Protocol, Reason
from agent.kernel import abi
from agent.kernel.authorization_rows import (
    decode_destination,
    decode_peer,
    decode_protected,
    encode_destination,
    encode_grant_key,
)
from agent.kernel.oracle.query import Client, Query, Tables
from agent.kernel.oracle.verdict import Outcome, Verdict

_PASSING = (Reason.NOT_ENROLLED, Reason.NO_FRONTEND, Reason.PASSED)


def judge_client(query: Query, client: Client | None, verdict: Verdict) -> Verdict:
    """The verdict after the policies of the servers."""
    if client is None:
        return verdict
    shares: dict[Outcome, Fraction] = {}
    for outcome, share in verdict.shares.items():
        judged = _judge(query, client, outcome)
        shares[judged] = shares.get(judged, Fraction(0)) + share
    return replace(verdict, shares=shares)


def _judge(query: Query, client: Client, outcome: Outcome) -> Outcome:
    if outcome.reason == Reason.FORWARDED and outcome.target:
        location = outcome.target
    elif outcome.reason in _PASSING and query.protocol == Protocol.TCP:
        location = query.address, query.port
    else:
        return outcome
    policy = refusing_policy(query.tables, client, *location)
    return Outcome(Reason.POLICY_FORBIDS, refused=location, policy=policy) if policy else outcome


def refusing_policy(tables: Tables, client: Client, address: bytes, port: int) -> int:
    """The index of the policy that refuses a client; 0: none does."""
    count = abi.U64.unpack(tables.get("weft_destination_count", {}).get(abi.U32.pack(0), bytes(8)))[0]
    destination = tables.get("weft_destinations", {}).get(address)
    cgroup = abi.U64.pack(client.cgroup_id)
    identity = tables.get("weft_identities", {}).get(cgroup)
    if not count or destination is None or identity is None or not identity.endswith(cgroup):
        return 0
    row, own = decode_destination(destination), tables.get("weft_protected", {}).get(cgroup)
    if destination != encode_destination(address, row) or (own is not None and address in decode_protected(own)):
        return 0
    peer, grants = decode_peer(identity), tables.get("weft_destination_grants", {})
    keys = (
        GrantKey(row.policy_set, identity_id, number)
        for identity_id in (ANY_CLIENT, peer.account_id, peer.namespace_id)
        for number in (ANY_PORT, port)
    )
    return 0 if any(encode_grant_key(key) in grants for key in keys) else row.policy
