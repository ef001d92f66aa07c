"""The bytes of every kernel table, as `bpf/abi*.h` declare them in C; a test compares both with the BTF of the kernel.
`flow_rows.py` decodes the rows of flows and events, `authorization_rows.py` has those of clients and policies,
`affinity_rows.py` those of sockets' and pods' former backends.

Numbers are in host byte order, addresses in network order. Actions and frontend values are single u64s, because the
programs read them by one load.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.ir.flow_tables import FLOW_STEPS
from agent.ir.tables import (
    OTHER_WAYPOINTS,
    REASON_CAPACITY,
    UNSPECIFIED,
    Action,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodFlag,
    PodRow,
    Protocol,
    ServiceRow,
    Slot,
    UnknownPodPolicy,
)
from agent.kernel.row_hash import hash_words

K = TypeVar("K")
V = TypeVar("V")

NOTHING = struct.Struct("=")
U32 = struct.Struct("=I")
U64 = struct.Struct("=Q")
ADDRESS = struct.Struct("=16s")
CONFIG = struct.Struct(f"=Q16s16s{'16s' * OTHER_WAYPOINTS}IIIII4x")
POD = struct.Struct("=QIIQQQ")
FRONTEND = struct.Struct("=Q16sHB5x")
SERVER = struct.Struct("=QQ")
PEER = struct.Struct("=QQQ")
GRANT = struct.Struct("=QQI4x")
VERDICT_COUNTS = struct.Struct("=QQQQ")
DESTINATION = struct.Struct("=QQQ")
IDENTITY = struct.Struct("=QQQ")
PROTECTED = struct.Struct("=16s16sQ")
UDP_ENDS = struct.Struct("=16s16sHH4x")
SERVICE = struct.Struct("=QIH2x")
SLOT = struct.Struct("=16sHHIQ")
SOCKET = struct.Struct("=16s16sHHHBxQQQQ")
UDP_FLOW = struct.Struct("=Q16sH6x")
UDP_PAIR = struct.Struct("=16s16sHHI")
UDP_PAIRS = 4
UDP_SOCKET = struct.Struct("=" + UDP_PAIRS * UDP_PAIR.format.removeprefix("=") + "II8x")
UDP_PEER = struct.Struct("=16sH6x8x")
UDP_TARGET = struct.Struct("=Q16sH6x")
AFFINITY = struct.Struct("=QQHBB4x")
BACKEND = struct.Struct("=16sH6xQ")
FLOW_KEY = struct.Struct("=QQHHB3s")
FLOW = struct.Struct(f"=QQQQQQQQ{FLOW_STEPS}I{FLOW_STEPS}I")
RATE_WINDOW = struct.Struct("=QQ")
EVENT = struct.Struct("=QQQ16s16sHHHHB3s4x")

PODS = 4096
FRONTENDS = 65536
ACTIONS = 2 * FRONTENDS
SERVICES = 65536
SLOTS = 262144
UDP_PEERS = 65536
AFFINITIES = 65536
CLIENTS = 8192
SERVERS = 2048
PEERS = 131072
GRANTS = 131072
UDP_SENT = 16384
DESTINATIONS = 131072
DEST_GRANTS = 65536
AUDITED_GRANTS = 32768
VERDICTS = 2 * SERVERS
FLOWS = 4096
ALL_WORKLOADS = (1 << 64) - 1
CONNECTIONS = 65536
EVENT_BYTES = 524288
MAX_LEVELS = 8

_COUNT_LIMIT = 1 << 24


@dataclass(frozen=True, slots=True)
class Layout:
    """A map: its key, its value and its capacity in rows (0: one row for each socket)."""

    name: str
    key: struct.Struct
    value: struct.Struct
    capacity: int

    def __str__(self) -> str:
        """The text that is hashed into the layout hash: it must not change under running programs."""
        return f"{self.name} {self.key.format} {self.value.format} {self.capacity}"


TABLES = (
    Layout("weft_config", U32, CONFIG, 2),
    Layout("weft_pods", U64, POD, PODS),
    Layout("weft_frontends", FRONTEND, U64, FRONTENDS),
    Layout("weft_actions", U32, U64, ACTIONS),
    Layout("weft_services", U32, SERVICE, SERVICES),
    Layout("weft_slots", U32, SLOT, SLOTS),
    Layout("weft_clients", ADDRESS, U64, CLIENTS),
    Layout("weft_servers", ADDRESS, SERVER, SERVERS),
    Layout("weft_peers", ADDRESS, PEER, PEERS),
    Layout("weft_grants", GRANT, U64, GRANTS),
    Layout("weft_audited", ADDRESS, SERVER, SERVERS),
    Layout("weft_audited_grants", GRANT, U64, AUDITED_GRANTS),
    Layout("weft_verdicts", ADDRESS, VERDICT_COUNTS, VERDICTS),
    Layout("weft_destination_count", U32, U64, 1),
    Layout("weft_destinations", ADDRESS, DESTINATION, DESTINATIONS),
    Layout("weft_destination_grants", GRANT, U64, DEST_GRANTS),
    Layout("weft_identities", U64, IDENTITY, PODS),
    Layout("weft_protected", U64, PROTECTED, SERVERS),
    Layout("weft_udp_sent", UDP_ENDS, U64, UDP_SENT),
    Layout("weft_counters", U32, U64, REASON_CAPACITY),
    Layout("weft_flows", FLOW_KEY, FLOW, FLOWS),
    Layout("weft_no_flow", U32, FLOW, 1),
    Layout("weft_flow_counts", U64, U64, 2 * FLOWS),
    Layout("weft_event_rate", U32, RATE_WINDOW, 4),
    Layout("weft_connections", U64, U64, CONNECTIONS),
    Layout("weft_charges", U32, U64, 0),
)
# A ring buffer has neither keys nor rows; the value is the layout of one event.
EVENTS = Layout("weft_events", NOTHING, EVENT, EVENT_BYTES)
SOCKET_MAPS = (
    Layout("weft_udp_peers", UDP_FLOW, UDP_PEER, UDP_PEERS),
    Layout("weft_udp_choices", UDP_TARGET, BACKEND, UDP_PEERS),
    Layout("weft_affinity", AFFINITY, BACKEND, AFFINITIES),
    Layout("weft_sockets", U32, SOCKET, 0),
    Layout("weft_udp_sockets", U32, UDP_SOCKET, 0),
)
LAYOUT_HASH = hashlib.sha256("\n".join(map(str, (*TABLES, EVENTS))).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Codec(Generic[K, V]):
    """Encodes and decodes rows of one table. The bytes of a value can depend on its key (fingerprint, cgroup id)."""

    layout: Layout
    encode_key: Callable[[K], bytes]
    decode_key: Callable[[bytes], K]
    encode_value: Callable[[K, V], bytes]
    decode_value: Callable[[bytes], V]


def fingerprint(key: bytes) -> int:
    """A hash of 32 bits over a frontend key, as `fingerprint()` in bpf/lookup.h computes it."""
    return hash_words(key) & 0xFFFFFFFF


def pack_action(action: FrontendAction) -> int:
    """An action as its u64. Raises `ValueError` when a part does not fit."""
    if not (0 <= action.base < 1 << 32 and 0 <= action.count < _COUNT_LIMIT):
        raise ValueError(f"an action holds a base of 32 and a count of 24 bits: {action}")
    return action.base | action.count << 32 | action.kind << 56


def unpack_action(value: int) -> FrontendAction:
    """The inverse of `pack_action`. An unknown kind is read as PASS, as in the kernel."""
    action = value >> 56
    known = Action(action) if action < len(Action) else Action.PASS
    return FrontendAction(known, value & 0xFFFFFFFF, value >> 32 & (_COUNT_LIMIT - 1))


def encode_config(config: Config, epoch: int) -> bytes:
    """A row of `weft_config`; the programs use the row with the greater epoch."""
    levels = config.first_level, config.last_level
    others = (*config.other_waypoints, *[UNSPECIFIED] * (OTHER_WAYPOINTS - len(config.other_waypoints)))
    waypoints = config.waypoint4, config.waypoint6, *others
    return CONFIG.pack(epoch, *waypoints, *levels, config.unknown_pod, config.events, config.waypoint_connections)


def decode_config(row: bytes) -> tuple[int, Config]:
    """The epoch and the configuration of a row."""
    epoch, waypoint4, waypoint6, *addresses, first, last, unknown, events, connections = CONFIG.unpack(row)
    others = tuple(address for address in addresses if address != UNSPECIFIED)
    return epoch, Config(waypoint4, waypoint6, first, last, UnknownPodPolicy(unknown), events, others, connections)


def encode_frontend_key(key: FrontendKey) -> bytes:
    """A key of `weft_frontends`."""
    return FRONTEND.pack(key.namespace_id, key.address, key.port, key.protocol)


def decode_frontend_key(row: bytes) -> FrontendKey:
    """The inverse of `encode_frontend_key`."""
    namespace_id, address, port, protocol = FRONTEND.unpack(row)
    return FrontendKey(namespace_id, address, port, Protocol(protocol))


def encode_frontend(key: FrontendKey, index: int) -> bytes:
    """Index (low half) and fingerprint (high half) in one u64."""
    return U64.pack(index | fingerprint(encode_frontend_key(key)) << 32)


def decode_frontend(row: bytes) -> int:
    """The index alone."""
    return int(U64.unpack(row)[0] & 0xFFFFFFFF)


def encode_pod(cgroup_id: int, row: PodRow) -> bytes:
    """A row of `weft_pods`, with its whole allowance of events; it repeats its key, which the programs compare last."""
    return POD.pack(row.namespace_id, row.mode, row.flags, row.workload_id, 0, cgroup_id)


def decode_pod(row: bytes) -> PodRow:
    """The inverse of `encode_pod`."""
    namespace_id, mode, flags, workload_id, _, _ = POD.unpack(row)
    return PodRow(namespace_id, Mode(mode), PodFlag(flags), workload_id)


def encode_service(_index: int, row: ServiceRow) -> bytes:
    """A row of `weft_services`."""
    return SERVICE.pack(row.service_id, row.affinity_seconds, row.waypoint_port)


def decode_service(row: bytes) -> ServiceRow:
    """The inverse of `encode_service`."""
    service_id, affinity_seconds, waypoint_port = SERVICE.unpack(row)
    return ServiceRow(service_id, waypoint_port, affinity_seconds)


def encode_slot(_number: int, slot: Slot) -> bytes:
    """A row of `weft_slots`."""
    return SLOT.pack(slot.address, slot.port, slot.reject, slot.alias, slot.threshold)


def decode_slot(row: bytes) -> Slot:
    """The inverse of `encode_slot`."""
    address, port, reject, alias, threshold = SLOT.unpack(row)
    return Slot(address, port, bool(reject), alias, threshold)


def _encode_number(number: int) -> bytes:
    return U32.pack(number)


def _decode_number(row: bytes) -> int:
    return int(U32.unpack(row)[0])


LAYOUTS = {layout.name: layout for layout in (*TABLES, *SOCKET_MAPS, EVENTS)}
FLOW_LAYOUT = LAYOUTS["weft_flows"]
POD_CODEC: Codec[int, PodRow] = Codec(
    LAYOUTS["weft_pods"], U64.pack, lambda row: int(U64.unpack(row)[0]), encode_pod, decode_pod
)
FRONTEND_CODEC: Codec[FrontendKey, int] = Codec(
    LAYOUTS["weft_frontends"], encode_frontend_key, decode_frontend_key, encode_frontend, decode_frontend
)
SERVICE_CODEC: Codec[int, ServiceRow] = Codec(
    LAYOUTS["weft_services"], _encode_number, _decode_number, encode_service, decode_service
)
SLOT_CODEC: Codec[int, Slot] = Codec(LAYOUTS["weft_slots"], _encode_number, _decode_number, encode_slot, decode_slot)
