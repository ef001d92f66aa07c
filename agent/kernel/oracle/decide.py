"""The decision itself: it follows `bpf/decide.h` step by step.

It reads only tables of encoded rows, as they are in the kernel. It does not use plans or former states of indices.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from agent.ir.tables import (
    ALL_NAMESPACES,
    ANY_NAMESPACE,
    UNSPECIFIED,
    Action,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodFlag,
    Protocol,
    Reason,
    ServiceRow,
    Slot,
    SocketAddress,
    UnknownPodPolicy,
)
from agent.kernel import abi
from agent.kernel.oracle.affinity import affinity_lookup
from agent.kernel.oracle.destination import judge_client
from agent.kernel.oracle.query import (
    IPV4_PREFIX,
    NO_SOCKET,
    WHOLE,
    Client,
    Query,
    SocketContext,
    Tables,
    find_client,
    read_slot,
)
from agent.kernel.oracle.verdict import Outcome, RowsRead, Verdict, always

_ZERO_ACTION = bytes(8)


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
        return always(Reason.PASSED)
    config = _config(tables)
    query = Query(tables, config, address, port, Protocol(protocol), socket)
    client = find_client(tables, cgroup_ids[config.first_level : config.last_level + 1][: abi.MAX_LEVELS])
    return judge_client(query, client, _choose(query, client))


def _choose(query: Query, client: Client | None) -> Verdict:
    address, config = query.address, query.config
    if query.is_waypoint(address) and not _is_agent(client):
        return always(Reason.WAYPOINT_DIALLED)
    if client is None:
        rejects = config.unknown_pod == UnknownPodPolicy.REJECT
        return always(Reason.UNKNOWN_POD_REJECTED if rejects else Reason.UNKNOWN_POD)
    if client.mode == Mode.NONE:
        return replace(always(Reason.NOT_ENROLLED), rows=RowsRead(client.pod))
    key, index = _frontend(query, client)
    if index is None:
        return replace(always(Reason.NO_FRONTEND), rows=RowsRead(client.pod))
    return _apply_action(query, key, index, client)


def _is_agent(client: Client | None) -> bool:
    return client is not None and PodFlag.AGENT in client.pod.flags


def _config(tables: Tables) -> Config:
    rows = (tables["weft_config"].get(abi.U32.pack(row), bytes(abi.CONFIG.size)) for row in (1, 0))
    return max(map(abi.decode_config, rows), key=lambda found: found[0])[1]


def _frontend(query: Query, client: Client) -> tuple[FrontendKey, int | None]:
    """The key that was found, else the last one that was looked up, and its index."""
    own = (client.pod.namespace_id,) if PodFlag.CONSUMER_ROUTES in client.pod.flags else ()
    for namespace_id in (*own, ANY_NAMESPACE):
        key = FrontendKey(namespace_id, query.address, query.port, query.protocol)
        encoded = abi.encode_frontend_key(key)
        row = query.tables["weft_frontends"].get(encoded)
        if row is not None and row[4:] == abi.U32.pack(abi.fingerprint(encoded)):
            return key, abi.decode_frontend(row)
    return key, None


def _apply_action(query: Query, key: FrontendKey, index: int, client: Client) -> Verdict:
    rows = RowsRead(client.pod, key, index)
    if 2 * index >= abi.ACTIONS or index >= abi.SERVICES:
        return replace(always(Reason.NO_FRONTEND), rows=rows)
    number = abi.U32.pack(2 * index + (client.mode != Mode.L4))
    action = abi.unpack_action(abi.U64.unpack(query.tables["weft_actions"].get(number, _ZERO_ACTION))[0])
    service = _service(query, index)
    return replace(_act(query, action, service, client), rows=replace(rows, action=action, service=service))


def _act(query: Query, action: FrontendAction, service: ServiceRow, client: Client) -> Verdict:
    if PodFlag.L4_ONLY in client.pod.flags and _is_waypoint_action(action):
        return always(Reason.PASSED)
    if action.kind == Action.FORWARD:
        entry = affinity_lookup(query, service, client, range(action.base, action.base + action.count))
        return Verdict({_rewrite(query, entry): Fraction(1)}) if entry else _forward(query, action.base, action.count)
    if action.kind == Action.WAYPOINT:
        return _to_waypoint(query, service.waypoint_port, client)
    if action.kind == Action.REJECT:
        return always(Reason(action.base) if action.base < len(Reason) else Reason.NO_BACKEND)
    return always(Reason.PASSED)


def _is_waypoint_action(action: FrontendAction) -> bool:
    return action.kind == Action.WAYPOINT or (action.kind, action.base) == (Action.REJECT, Reason.WAYPOINT_LOST)


def _service(query: Query, index: int) -> ServiceRow:
    return abi.decode_service(query.tables["weft_services"].get(abi.U32.pack(index), bytes(abi.SERVICE.size)))


def _to_waypoint(query: Query, port: int, client: Client) -> Verdict:
    address = query.config.waypoint4 if query.is_ipv4 else query.config.waypoint6
    if query.protocol != Protocol.TCP or not port or address == UNSPECIFIED:
        return always(Reason.WAYPOINT_LOST)
    if not _is_below_connection_limit(query, client):
        return always(Reason.OVER_BUDGET)
    return always(Reason.TO_WAYPOINT, (address, port))


def _is_below_connection_limit(query: Query, client: Client) -> bool:
    """Whether the client's namespace may have another connection to the waypoint (bpf/connections.h)."""
    rows = query.tables.get("weft_connections", {})
    used, own = (
        abi.U64.unpack(rows.get(abi.U64.pack(key), bytes(8)))[0] for key in (ALL_NAMESPACES, client.pod.namespace_id)
    )
    limit = query.config.waypoint_connections
    return not limit or bool(used < limit and own < limit - used)


def _forward(query: Query, base: int, count: int) -> Verdict:
    shares: dict[Outcome, Fraction] = {}
    for column in range(count):
        own = read_slot(query.tables, base + column)
        alias = read_slot(query.tables, base + own.alias)
        first, end = column * WHOLE, (column + 1) * WHOLE
        parting = first + own.threshold
        for row, start, stop in ((own, first, parting), (alias, parting, end)):
            if draws := _draws_below(stop, count) - _draws_below(start, count):
                outcome = _outcome(query, row)
                shares[outcome] = shares.get(outcome, Fraction(0)) + Fraction(draws, WHOLE)
    return Verdict(shares) if count else always(Reason.NO_BACKEND)


def _draws_below(limit: int, count: int) -> int:
    """How many 32-bit numbers, times `count`, are below `limit`."""
    return -(-limit // count)


def _outcome(query: Query, slot: Slot) -> Outcome:
    if slot.reject:
        return Outcome(Reason.SHARE_REJECTED)
    if not slot.port or slot.address.startswith(IPV4_PREFIX) != query.is_ipv4:
        return Outcome(Reason.NO_BACKEND)
    return _rewrite(query, (slot.address, slot.port))


def _rewrite(query: Query, backend: SocketAddress) -> Outcome:
    """Rewrite to a backend; a waypoint is refused as a backend."""
    return Outcome(Reason.WAYPOINT_DIALLED) if query.is_waypoint(backend[0]) else Outcome(Reason.FORWARDED, backend)
