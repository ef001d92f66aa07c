"""Cases of the kernel's decision: the rows of the maps, the client's call, and the expected reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from errno import ECONNREFUSED, EPERM
from typing import Any

from agent.ir.authorization import DestinationRow, GrantKey, PeerRow
from agent.ir.tables import (
    ANY_NAMESPACE,
    OTHER_WAYPOINTS,
    UNSPECIFIED,
    Action,
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
    UnknownPodPolicy,
    address_bytes,
)
from agent.kernel import abi, authorization_rows
from agent.kernel.maps import PinnedKernel
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, WAYPOINT, WAYPOINT_PORT

OWN_NAMESPACE = 77
INDEX, OWN_INDEX = 3, 4
PASS = FrontendAction(Action.PASS)
TO_FIRST, TO_SECOND = FrontendAction(Action.FORWARD, 16, 1), FrontendAction(Action.FORWARD, 17, 1)
TO_REJECTING, TO_OTHER_FAMILY, TO_NOTHING = (
    FrontendAction(Action.FORWARD, 18, 1),
    FrontendAction(Action.FORWARD, 19, 1),
    FrontendAction(Action.FORWARD),
)
TO_UNWRITTEN = FrontendAction(Action.FORWARD, 900, 1)
# As the kernel makes a table: other tests of the session may have written that slot.
NEVER_WRITTEN = Slot(bytes(16), 0, False, 0, 0)
BACK_TO_WAYPOINT, BACK_TO_BESIDE = FrontendAction(Action.FORWARD, 20, 1), FrontendAction(Action.FORWARD, 21, 1)
VIA_WAYPOINT = FrontendAction(Action.WAYPOINT)
REJECT_EMPTY, REJECT_LOST = (
    FrontendAction(Action.REJECT, Reason.NO_BACKEND),
    FrontendAction(Action.REJECT, Reason.WAYPOINT_LOST),
)

POLICY_SET, POLICY, CLIENT = 5005, 0xA1B2C3, PeerRow(71, 72)
REWRITTEN = {Reason.FORWARDED, Reason.TO_WAYPOINT}
ERRNO = {
    Reason.NO_BACKEND: ECONNREFUSED,
    Reason.SHARE_REJECTED: ECONNREFUSED,
    Reason.WAYPOINT_LOST: ECONNREFUSED,
    Reason.POLICY_FORBIDS: ECONNREFUSED,
    Reason.WAYPOINT_DIALLED: EPERM,
    Reason.UNKNOWN_POD_REJECTED: EPERM,
}


@dataclass(frozen=True)
class Case:
    """One row. `actions` (l4, l7) are of the frontend for all clients, `own_actions` those of its namespace. `admits`:
    whether the policies of the first backend admit the client; None: it has none.
    """

    title: str
    reason: Reason
    mode: Mode | None = Mode.L4
    actions: tuple[FrontendAction, FrontendAction] | None = (TO_FIRST, TO_SECOND)
    own_actions: tuple[FrontendAction, FrontendAction] | None = None
    flags: PodFlag = PodFlag.NONE
    unknown: UnknownPodPolicy = UnknownPodPolicy.PASS
    waypoint: bool = True
    crowded: bool = False
    dials: str = "vip"
    backend: int | None = None
    admits: bool | None = None
    protocols: tuple[str, ...] = ("TCP", "UDP")
    family: str = "4"
    protocol: str = "TCP"
    call: str = "connect"

    def __str__(self) -> str:
        return f"{self.title}-{self.family}-{self.protocol}-{self.call}"

    @property
    def ip(self) -> str:
        """The address family on the wire."""
        return "6" if self.family == "6" else "4"

    @property
    def destination(self) -> tuple[str, int]:
        addresses = {
            "vip": (VIP[self.ip], VIP_PORT),
            "waypoint": (WAYPOINT[self.ip], WAYPOINT_PORT),
            "pod": (BACKENDS[self.ip][0], BACKEND_PORT),
            "crowded": (BACKENDS[self.ip][2], BACKEND_PORT),
        }
        return addresses[self.dials]

    @property
    def reached(self) -> tuple[str, int]:
        """The server that must answer if the call succeeds."""
        if self.reason == Reason.TO_WAYPOINT:
            return WAYPOINT[self.ip], WAYPOINT_PORT
        return self.destination if self.backend is None else (BACKENDS[self.ip][self.backend], BACKEND_PORT)


CONSUMER, HOST = PodFlag.CONSUMER_ROUTES, PodFlag.L4_ONLY
ROWS = (
    Case("none-untouched", Reason.NOT_ENROLLED, mode=Mode.NONE),
    Case("policy-forbids-backend", Reason.POLICY_FORBIDS, admits=False),
    Case("policy-forbids-address", Reason.POLICY_FORBIDS, dials="pod", admits=False, protocols=("TCP",)),
    Case("policy-forbids-none", Reason.POLICY_FORBIDS, mode=Mode.NONE, dials="pod", admits=False, protocols=("TCP",)),
    Case("policy-of-other-backend", Reason.FORWARDED, mode=Mode.L7, admits=False, backend=1),
    Case("policy-admits-backend", Reason.FORWARDED, admits=True, backend=0),
    Case("policy-admits-address", Reason.NO_FRONTEND, dials="pod", admits=True),
    Case("datagram-may-be-a-reply", Reason.NO_FRONTEND, dials="pod", admits=False, protocols=("UDP",)),
    Case("waypoint-judges", Reason.TO_WAYPOINT, actions=(VIA_WAYPOINT, PASS), admits=False, protocols=("TCP",)),
    Case("unknown-pod-not-judged", Reason.UNKNOWN_POD, mode=None, dials="pod", admits=False),
    Case("unknown-passes", Reason.UNKNOWN_POD, mode=None),
    Case("unknown-rejected", Reason.UNKNOWN_POD_REJECTED, mode=None, unknown=UnknownPodPolicy.REJECT),
    Case("unknown-dials-waypoint", Reason.WAYPOINT_DIALLED, mode=None, dials="waypoint"),
    Case("none-dials-waypoint", Reason.WAYPOINT_DIALLED, mode=Mode.NONE, dials="waypoint"),
    Case("l4-dials-waypoint", Reason.WAYPOINT_DIALLED, dials="waypoint"),
    Case("agent-dials-waypoint", Reason.NOT_ENROLLED, mode=Mode.NONE, flags=PodFlag.AGENT, dials="waypoint"),
    Case("l4-dials-last-waypoint-beside", Reason.WAYPOINT_DIALLED, crowded=True, dials="crowded"),
    Case("beside-unset", Reason.NO_FRONTEND, dials="crowded"),
    Case("backend-is-waypoint", Reason.WAYPOINT_DIALLED, actions=(BACK_TO_WAYPOINT, PASS)),
    Case("backend-is-waypoint-l7", Reason.WAYPOINT_DIALLED, mode=Mode.L7, actions=(PASS, BACK_TO_WAYPOINT)),
    Case("backend-is-waypoint-beside", Reason.WAYPOINT_DIALLED, crowded=True, actions=(BACK_TO_BESIDE, PASS)),
    Case("backend-was-waypoint", Reason.FORWARDED, actions=(BACK_TO_BESIDE, PASS), backend=2),
    Case("waypoint-unset", Reason.NO_FRONTEND, dials="waypoint", waypoint=False),
    Case("pod-ip-untouched", Reason.NO_FRONTEND, dials="pod"),
    Case("no-frontend", Reason.NO_FRONTEND, actions=None),
    Case("action-passes", Reason.PASSED, actions=(PASS, TO_SECOND)),
    Case("l4-forward", Reason.FORWARDED, backend=0),
    Case("l7-forward", Reason.FORWARDED, mode=Mode.L7, backend=1),
    Case("l7-waypoint", Reason.TO_WAYPOINT, mode=Mode.L7, actions=(TO_FIRST, VIA_WAYPOINT), protocols=("TCP",)),
    Case("l4-to-l7-service", Reason.TO_WAYPOINT, actions=(VIA_WAYPOINT, VIA_WAYPOINT), protocols=("TCP",)),
    Case("host-to-l7-service", Reason.PASSED, flags=HOST, actions=(VIA_WAYPOINT, VIA_WAYPOINT), protocols=("TCP",)),
    Case("host-to-lost-waypoint", Reason.PASSED, flags=HOST, actions=(REJECT_LOST, REJECT_LOST)),
    Case("host-forward", Reason.FORWARDED, flags=HOST, backend=0),
    Case("host-refused", Reason.NO_BACKEND, flags=HOST, actions=(REJECT_EMPTY, PASS)),
    Case("waypoint-for-udp", Reason.WAYPOINT_LOST, actions=(VIA_WAYPOINT, PASS), protocols=("UDP",)),
    Case("waypoint-without-address", Reason.WAYPOINT_LOST, actions=(VIA_WAYPOINT, PASS), waypoint=False),
    Case("reject-empty", Reason.NO_BACKEND, actions=(REJECT_EMPTY, PASS)),
    Case("reject-lost", Reason.WAYPOINT_LOST, mode=Mode.L7, actions=(PASS, REJECT_LOST)),
    Case("reject-broken-action", Reason.NO_BACKEND, actions=(FrontendAction(Action.REJECT, 4000), PASS)),
    Case("forward-nothing", Reason.NO_BACKEND, actions=(TO_NOTHING, PASS)),
    Case("forward-unwritten", Reason.NO_BACKEND, actions=(TO_UNWRITTEN, PASS)),
    Case("share-rejected", Reason.SHARE_REJECTED, actions=(TO_REJECTING, PASS)),
    Case("other-family", Reason.NO_BACKEND, actions=(TO_OTHER_FAMILY, PASS)),
    Case("consumer-own-row", Reason.FORWARDED, flags=CONSUMER, own_actions=(TO_SECOND, PASS), backend=1),
    Case("consumer-falls-back", Reason.FORWARDED, flags=CONSUMER, backend=0),
    Case("consumer-only-own", Reason.FORWARDED, flags=CONSUMER, actions=None, own_actions=(TO_FIRST, PASS), backend=0),
    Case("flagless-ignores-own", Reason.FORWARDED, own_actions=(TO_SECOND, PASS), backend=0),
    Case("consumer-pass-is-final", Reason.PASSED, flags=CONSUMER, own_actions=(PASS, PASS)),
)


def expand(rows: tuple[Case, ...]) -> Iterator[Case]:
    """Each row for every family and way of sending."""
    for row in rows:
        for family in ("4", "6", "mapped"):
            for protocol in row.protocols:
                for call in ("connect", "sendto") if protocol == "UDP" else ("connect",):
                    yield replace(row, family=family, protocol=protocol, call=call)


CASES = tuple(expand(ROWS))


@dataclass(frozen=True)
class Rows:
    """The tables' rows, as the agent would write them."""

    config: Config
    pods: dict[int, PodRow]
    frontends: dict[FrontendKey, int]
    actions: dict[int, FrontendAction]
    services: dict[int, ServiceRow]
    slots: dict[int, Slot]
    destinations: dict[bytes, DestinationRow] = field(default_factory=dict)
    destination_grants: dict[GrantKey, bool] = field(default_factory=dict)
    identities: dict[int, PeerRow] = field(default_factory=dict)

    def write(self, kernel: PinnedKernel) -> None:
        """Replace the rows in the maps. Slots and services without an action are not removed; no program reads them."""
        kernel.configure(self.config)
        kernel.slots.upsert(self.slots)
        kernel.services.upsert(self.services)
        kernel.count_destinations(len(self.destinations))
        for name in ("actions", "frontends", "pods", "destinations", "destination_grants", "identities"):
            table, wanted = getattr(kernel, name), getattr(self, name)
            table.delete(set(table.load()) - set(wanted))
            table.upsert(wanted)

    def encoded(self) -> dict[str, dict[bytes, bytes]]:
        """The same bytes as in the kernel."""
        codecs: tuple[Any, ...] = (
            *(abi.POD_CODEC, abi.FRONTEND_CODEC, abi.SERVICE_CODEC, abi.SLOT_CODEC),
            authorization_rows.DESTINATION_CODEC,
            authorization_rows.DESTINATION_GRANT_CODEC,
            authorization_rows.IDENTITY_CODEC,
        )
        rows: tuple[Mapping[Any, Any], ...] = (
            *(self.pods, self.frontends, self.services, self.slots),
            *(self.destinations, self.destination_grants, self.identities),
        )
        return {
            codec.layout.name: {codec.encode_key(key): codec.encode_value(key, row) for key, row in table.items()}
            for codec, table in zip(codecs, rows, strict=True)
        } | {
            "weft_actions": {
                abi.U32.pack(n): abi.U64.pack(abi.pack_action(action)) for n, action in self.actions.items()
            },
            "weft_destination_count": {abi.U32.pack(0): abi.U64.pack(len(self.destinations))},
            "weft_config": {abi.U32.pack(0): abi.encode_config(self.config, 1)},
        }


def slot(address: str, *, reject: bool = False) -> Slot:
    """A slot whose column always selects its own backend."""
    return Slot(address_bytes(address), BACKEND_PORT, reject, 0, 1 << 32)


def rows_for(case: Case, cgroup_id: int, levels: tuple[int, int]) -> Rows:
    """The tables of a case."""
    first, second, third = BACKENDS[case.ip]
    other = BACKENDS["4" if case.ip == "6" else "6"][0]
    key = FrontendKey(ANY_NAMESPACE, address_bytes(VIP[case.ip]), VIP_PORT, Protocol[case.protocol])
    given = ((key, INDEX, case.actions), (replace(key, namespace_id=OWN_NAMESPACE), OWN_INDEX, case.own_actions))
    there = [(key, index, actions) for key, index, actions in given if actions is not None]
    packed = {family: address_bytes(WAYPOINT[family]) if case.waypoint else UNSPECIFIED for family in "46"}
    crowded = [*(f"10.0.8.{last}" for last in range(1, OTHER_WAYPOINTS)), third] if case.crowded else []
    return Rows(
        Config(packed["4"], packed["6"], *levels, case.unknown, other_waypoints=tuple(map(address_bytes, crowded))),
        {} if case.mode is None else {cgroup_id: PodRow(OWN_NAMESPACE, case.mode, case.flags)},
        {key: index for key, index, _ in there},
        {2 * index + deep: actions[deep] for _, index, actions in there for deep in (0, 1) if actions[deep] != PASS},
        {index: ServiceRow(1000 + index, WAYPOINT_PORT) for _, index, _ in there},
        {
            16: slot(first),
            17: slot(second),
            18: slot(first, reject=True),
            19: slot(other),
            20: slot(WAYPOINT[case.ip]),
            21: slot(third),
            TO_UNWRITTEN.base: NEVER_WRITTEN,
        },
        {} if case.admits is None else {address_bytes(first): DestinationRow(POLICY_SET, POLICY)},
        {GrantKey(POLICY_SET, CLIENT.namespace_id, BACKEND_PORT + (not case.admits)): True},
        {cgroup_id: CLIENT},
    )


def written(case: Case) -> str:
    """The destination as this family's sockets write it."""
    address = case.destination[0]
    return f"::ffff:{address}" if case.family == "mapped" else address


def decisions(case: Case) -> int:
    """A connected v4-mapped UDP socket runs sendmsg4 again with each datagram, unless it was rewritten."""
    again = (case.family, case.protocol, case.call) == ("mapped", "UDP", "connect")
    return 2 if again and case.reason not in REWRITTEN | ERRNO.keys() else 1
