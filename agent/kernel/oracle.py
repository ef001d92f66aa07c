"""The decision of the kernel in Python, from the same bytes: it follows `bpf/decide.h` step by step.

It reads only tables of encoded rows, as they are in the kernel. It does not use plans or former states of indices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, GrantKey
from agent.ir.tables import (
    ALL_NAMESPACES,
    ANY_NAMESPACE,
    UNSPECIFIED,
    Action,
    AffinityEntry,
    AffinityKey,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodFlag,
    PodRow,
    Protocol,
    Reason,
    ServiceRow,
    Slot,
    SocketAddress,
    UdpTarget,
    UnknownPodPolicy,
)
from agent.kernel import abi
from agent.kernel.authorization_rows import (
    decode_destination,
    decode_peer,
    decode_protected,
    encode_destination,
    encode_grant_key,
)

Tables = Mapping[str, Mapping[bytes, bytes]]

_ONE = Fraction(1)
_PASSING = (Reason.NOT_ENROLLED, Reason.NO_FRONTEND, Reason.PASSED)
_WHOLE = 1 << 32
_NS_PER_SECOND = 10**9
_ZERO_ACTION = bytes(8)
_IPV4_PREFIX = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One possible outcome: the reason, and the new destination if the connection is rewritten.

    `refused` is the destination that policies do not let the client reach, `policy` the index of one of them.
    """

    reason: Reason
    target: SocketAddress | None = None
    refused: SocketAddress | None = None
    policy: int = 0


@dataclass(frozen=True, slots=True)
class RowsRead:
    """The rows that a decision read; None for tables that it did not reach."""

    client: PodRow | None = None
    frontend: FrontendKey | None = None
    index: int | None = None
    action: FrontendAction | None = None
    service: ServiceRow | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All possible outcomes, each with its exact probability; they add up to 1."""

    shares: Mapping[Outcome, Fraction]
    rows: RowsRead = RowsRead()

    @property
    def reason(self) -> Reason:
        """The only reason, or that of the most probable outcome."""
        return max(self.shares, key=lambda outcome: self.shares[outcome]).reason

    @property
    def candidates(self) -> frozenset[SocketAddress]:
        """Every address and port to which the connection may be rewritten."""
        return frozenset(outcome.target for outcome in self.shares if outcome.target)


@dataclass(frozen=True, slots=True)
class SocketContext:
    """The inputs besides the destination: the cookie of a UDP socket (0: none, or another protocol), the time, and the
    row of the socket in `weft_udp_sockets` (empty: none).

    The time is CLOCK_MONOTONIC in ns, as `bpf_ktime_get_ns` returns it.
    """

    cookie: int = 0
    now: int = 0
    pairs: bytes = b""


NO_SOCKET = SocketContext()


@dataclass(frozen=True, slots=True)
class _Query:
    tables: Tables
    config: Config
    address: bytes
    port: int
    protocol: Protocol
    socket: SocketContext

    @property
    def is_ipv4(self) -> bool:
        return self.address.startswith(_IPV4_PREFIX)

    def is_waypoint(self, address: bytes) -> bool:
        config = self.config
        return address != UNSPECIFIED and address in (config.waypoint4, config.waypoint6, *config.other_waypoints)


def decide(
    tables: Tables,
    cgroup_ids: Sequence[int],
    address: bytes,
    port: int,
    protocol: int,
    socket: SocketContext = NO_SOCKET,
) -> Verdict:
    """The verdict on a connection or datagram of a client whose cgroup at level n is `cgroup_ids[n]`.

    `address` is 16 bytes. `tables` are the encoded rows by map name; an absent row of an array is all zero. Without the
    tables of affinity entries there is no affinity.
    """
    if protocol not in (Protocol.TCP, Protocol.UDP):
        return _always(Reason.PASSED)
    config = _config(tables)
    query = _Query(tables, config, address, port, Protocol(protocol), socket)
    client = _client(tables, cgroup_ids[config.first_level : config.last_level + 1][: abi.MAX_LEVELS])
    return _judge_client(query, client, _choose(query, client))


def _judge_client(query: _Query, client: "_Client | None", verdict: Verdict) -> Verdict:
    """The verdict after the policies of the servers (bpf/decide.h, `judge_client()`)."""
    if client is None:
        return verdict
    shares: dict[Outcome, Fraction] = {}
    for outcome, share in verdict.shares.items():
        judged = _judge(query, client, outcome)
        shares[judged] = shares.get(judged, Fraction(0)) + share
    return replace(verdict, shares=shares)


def _judge(query: _Query, client: "_Client", outcome: Outcome) -> Outcome:
    if outcome.reason == Reason.FORWARDED and outcome.target:
        location = outcome.target
    elif outcome.reason in _PASSING and query.protocol == Protocol.TCP:
        location = query.address, query.port
    else:
        return outcome
    policy = _refusing_policy(query.tables, client, *location)
    return Outcome(Reason.POLICY_FORBIDS, refused=location, policy=policy) if policy else outcome


def _refusing_policy(tables: Tables, client: "_Client", address: bytes, port: int) -> int:
    """The index of the policy that refuses a client; 0: none does (bpf/destination.h)."""
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


def _choose(query: _Query, client: "_Client | None") -> Verdict:
    address, config = query.address, query.config
    if query.is_waypoint(address) and not _is_agent(client):
        return _always(Reason.WAYPOINT_DIALLED)
    if client is None:
        rejects = config.unknown_pod == UnknownPodPolicy.REJECT
        return _always(Reason.UNKNOWN_POD_REJECTED if rejects else Reason.UNKNOWN_POD)
    if client.mode == Mode.NONE:
        return replace(_always(Reason.NOT_ENROLLED), rows=RowsRead(client.pod))
    key, index = _frontend(query, client)
    if index is None:
        return replace(_always(Reason.NO_FRONTEND), rows=RowsRead(client.pod))
    return _apply_action(query, key, index, client)


def _is_agent(client: "_Client | None") -> bool:
    return client is not None and PodFlag.AGENT in client.pod.flags


def _always(reason: Reason, target: SocketAddress | None = None) -> Verdict:
    return Verdict({Outcome(reason, target): _ONE})


def _config(tables: Tables) -> Config:
    rows = (tables["weft_config"].get(abi.U32.pack(row), bytes(abi.CONFIG.size)) for row in (1, 0))
    return max(map(abi.decode_config, rows), key=lambda found: found[0])[1]


@dataclass(frozen=True, slots=True)
class _Client:
    cgroup_id: int
    pod: PodRow

    @property
    def mode(self) -> Mode:
        return self.pod.mode


def _client(tables: Tables, cgroup_ids: Sequence[int]) -> _Client | None:
    for cgroup_id in cgroup_ids:
        key = abi.U64.pack(cgroup_id)
        row = tables["weft_pods"].get(key)
        if row is not None and row.endswith(key):
            return _Client(cgroup_id, abi.decode_pod(row))
    return None


def _frontend(query: _Query, client: _Client) -> tuple[FrontendKey, int | None]:
    """The key that was found, else the last one that was looked up, and its index."""
    own = (client.pod.namespace_id,) if PodFlag.CONSUMER_ROUTES in client.pod.flags else ()
    for namespace_id in (*own, ANY_NAMESPACE):
        key = FrontendKey(namespace_id, query.address, query.port, query.protocol)
        encoded = abi.encode_frontend_key(key)
        row = query.tables["weft_frontends"].get(encoded)
        if row is not None and row[4:] == abi.U32.pack(abi.fingerprint(encoded)):
            return key, abi.decode_frontend(row)
    return key, None


def _apply_action(query: _Query, key: FrontendKey, index: int, client: _Client) -> Verdict:
    rows = RowsRead(client.pod, key, index)
    if 2 * index >= abi.ACTIONS or index >= abi.SERVICES:
        return replace(_always(Reason.NO_FRONTEND), rows=rows)
    number = abi.U32.pack(2 * index + (client.mode != Mode.L4))
    action = abi.unpack_action(abi.U64.unpack(query.tables["weft_actions"].get(number, _ZERO_ACTION))[0])
    service = _service(query, index)
    return replace(_act(query, action, service, client), rows=replace(rows, action=action, service=service))


def _act(query: _Query, action: FrontendAction, service: ServiceRow, client: _Client) -> Verdict:
    if PodFlag.L4_ONLY in client.pod.flags and _is_waypoint_action(action):
        return _always(Reason.PASSED)
    if action.kind == Action.FORWARD:
        entry = _affinity_lookup(query, service, client, range(action.base, action.base + action.count))
        return Verdict({_rewrite(query, entry): _ONE}) if entry else _forward(query, action.base, action.count)
    if action.kind == Action.WAYPOINT:
        return _to_waypoint(query, service.waypoint_port, client)
    if action.kind == Action.REJECT:
        return _always(Reason(action.base) if action.base < len(Reason) else Reason.NO_BACKEND)
    return _always(Reason.PASSED)


def _is_waypoint_action(action: FrontendAction) -> bool:
    return action.kind == Action.WAYPOINT or (action.kind, action.base) == (Action.REJECT, Reason.WAYPOINT_LOST)


def _service(query: _Query, index: int) -> ServiceRow:
    return abi.decode_service(query.tables["weft_services"].get(abi.U32.pack(index), bytes(abi.SERVICE.size)))


def _affinity_lookup(query: _Query, service: ServiceRow, client: _Client, columns: range) -> SocketAddress | None:
    """The backend of the entry of this socket, else of this pod, while the slot array has it (bpf/affinity.h)."""
    slots = [_slot(query.tables, number) for number in columns]
    there = {(slot.address, slot.port) for slot in slots if not slot.reject}
    for entry in (_affinity_lookup_socket(query), _affinity_lookup_pod(query, service, client)):
        if entry and (entry.address, entry.port) in there:
            return entry.address, entry.port
    return None


def _affinity_lookup_socket(query: _Query) -> AffinityEntry | None:
    if pair := abi.latest_pair(query.socket.pairs, query.address, query.port):
        return pair
    key = UdpTarget(query.socket.cookie, query.address, query.port)
    row = query.tables.get("weft_udp_choices", {}).get(abi.encode_udp_target(key))
    return abi.decode_affinity_entry(row) if row and key.cookie else None


def _affinity_lookup_pod(query: _Query, service: ServiceRow, client: _Client) -> AffinityEntry | None:
    family = 4 if query.is_ipv4 else 6
    key = AffinityKey(service.service_id, client.cgroup_id, query.port, query.protocol, family)
    row = query.tables.get("weft_affinity", {}).get(abi.encode_affinity_key(key))
    if row is None or not service.affinity_seconds:
        return None
    entry = abi.decode_affinity_entry(row)
    return entry if query.socket.now - entry.used <= service.affinity_seconds * _NS_PER_SECOND else None


def _to_waypoint(query: _Query, port: int, client: _Client) -> Verdict:
    address = query.config.waypoint4 if query.is_ipv4 else query.config.waypoint6
    if query.protocol != Protocol.TCP or not port or address == UNSPECIFIED:
        return _always(Reason.WAYPOINT_LOST)
    if not _has_connection_room(query, client):
        return _always(Reason.OVER_BUDGET)
    return _always(Reason.TO_WAYPOINT, (address, port))


def _has_connection_room(query: _Query, client: _Client) -> bool:
    """Whether the client's namespace may have another connection to the waypoint (bpf/connections.h)."""
    rows = query.tables.get("weft_connections", {})
    used, own = (
        abi.U64.unpack(rows.get(abi.U64.pack(key), bytes(8)))[0] for key in (ALL_NAMESPACES, client.pod.namespace_id)
    )
    room = query.config.waypoint_connections
    return not room or bool(used < room and own < room - used)


def _forward(query: _Query, base: int, count: int) -> Verdict:
    shares: dict[Outcome, Fraction] = {}
    for column in range(count):
        own = _slot(query.tables, base + column)
        alias = _slot(query.tables, base + own.alias)
        first, end = column * _WHOLE, (column + 1) * _WHOLE
        parting = first + own.threshold
        for slot, start, stop in ((own, first, parting), (alias, parting, end)):
            if draws := _draws_below(stop, count) - _draws_below(start, count):
                outcome = _outcome(query, slot)
                shares[outcome] = shares.get(outcome, Fraction(0)) + Fraction(draws, _WHOLE)
    return Verdict(shares) if count else _always(Reason.NO_BACKEND)


def _draws_below(limit: int, count: int) -> int:
    """How many 32-bit numbers, times `count`, are below `limit`."""
    return -(-limit // count)


def _slot(tables: Tables, number: int) -> Slot:
    return abi.decode_slot(tables["weft_slots"].get(abi.U32.pack(number % _WHOLE), bytes(abi.SLOT.size)))


def _outcome(query: _Query, slot: Slot) -> Outcome:
    if slot.reject:
        return Outcome(Reason.SHARE_REJECTED)
    if not slot.port or slot.address.startswith(_IPV4_PREFIX) != query.is_ipv4:
        return Outcome(Reason.NO_BACKEND)
    return _rewrite(query, (slot.address, slot.port))


def _rewrite(query: _Query, backend: SocketAddress) -> Outcome:
    """Rewrite to a backend; a waypoint is refused as a backend."""
    return Outcome(Reason.WAYPOINT_DIALLED) if query.is_waypoint(backend[0]) else Outcome(Reason.FORWARDED, backend)
