"""Encoded rows: round trips, and the names and numbers of the C header."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ir.authorization import ANY_CLIENT, ANY_PORT, GrantKey, PeerRow
from agent.ir.flow_tables import FlowKey
from agent.ir.tables import (
    REASON_CAPACITY,
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
)
from agent.kernel import abi, authorization_rows, flow_rows
from agent.kernel.programs import NETWORK_PROGRAMS, PROGRAMS, SOURCES, read_source, source_hash

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
ADDRESS = st.binary(min_size=16, max_size=16)
HEADER = "".join(path.read_text() for path in sorted(SOURCES.glob("abi*.h")))


def test_reasons_are_those_of_the_c_header() -> None:
    body = re.search(r"enum weft_reason \{(.*?)\}", HEADER, re.DOTALL)
    assert re.findall(r"WEFT_(\w+),", body[1]) == [*(reason.name for reason in Reason), "REASONS"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PODS",
            "CLIENTS",
            "SERVERS",
            "PEERS",
            "GRANTS",
            "AUDITED_GRANTS",
            "UDP_SENT",
            "SERVICES",
            "SLOTS",
            "UDP_PEERS",
            "FRONTENDS",
        ),
        *("CONNECTIONS", "MAX_LEVELS", "OTHER_WAYPOINTS"),
    ],
)
def test_capacities_are_those_of_the_c_header(name: str) -> None:
    found = re.search(rf"#define WEFT_{name}\s+(\d+)", HEADER)
    assert int(found[1]) == getattr(abi, name)


def test_another_reason_does_not_change_the_layout() -> None:
    assert len(Reason) < REASON_CAPACITY == abi.LAYOUTS["weft_counters"].capacity
    assert int(re.search(r"#define WEFT_REASON_ROOM (\d+)", HEADER)[1]) == REASON_CAPACITY


def test_reasons_of_later_versions_are_numbers_with_room() -> None:
    later = Reason(len(Reason))
    assert (later, later.name, later in list(Reason)) == (len(Reason), f"REASON_{len(Reason)}", False)
    with pytest.raises(ValueError, match="64 is not a valid Reason"):
        Reason(REASON_CAPACITY)


@pytest.mark.parametrize("policy", [0, 1, 0x123456, (1 << 24) - 1])
def test_a_flow_key_has_room_for_a_policy(policy: int) -> None:
    key = FlowKey(1, 2, Reason.FORWARDED, 3, Protocol.TCP, policy)
    assert flow_rows.decode_flow_key(flow_rows.encode_flow_key(key)) == key


def test_a_policy_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError):
        flow_rows.encode_flow_key(FlowKey(policy=1 << 24))


@pytest.mark.parametrize("kind", [Mode, Action], ids=lambda kind: kind.__name__)
def test_numbers_are_those_of_the_c_header(kind: type[Mode] | type[Action]) -> None:
    prefix = kind.__name__.upper()
    found = {name: int(value) for name, value in re.findall(rf"#define WEFT_{prefix}_(\w+)\s+(\d+)", HEADER)}
    assert found == {item.name: item.value for item in kind}


@given(st.builds(FrontendAction, st.sampled_from(Action), U32, st.integers(0, (1 << 24) - 1)))
def test_actions_round_trip(action: FrontendAction) -> None:
    assert abi.unpack_action(abi.pack_action(action)) == action


@pytest.mark.parametrize(
    "action", [FrontendAction(Action.FORWARD, 1 << 32, 1), FrontendAction(Action.FORWARD, 0, 1 << 24)]
)
def test_an_action_that_does_not_fit_is_refused(action: FrontendAction) -> None:
    with pytest.raises(ValueError, match="an action holds"):
        abi.pack_action(action)


@given(st.builds(Slot, ADDRESS, U16, st.booleans(), U32, st.integers(0, 1 << 32)))
def test_slots_round_trip(slot: Slot) -> None:
    assert abi.decode_slot(abi.encode_slot(0, slot)) == slot


@given(U64, st.builds(PodRow, U64, st.sampled_from(Mode), st.sampled_from(list(PodFlag))))
def test_pods_round_trip(cgroup_id: int, row: PodRow) -> None:
    assert abi.decode_pod(abi.encode_pod(cgroup_id, row)) == row


@given(st.builds(FrontendKey, U64, ADDRESS, U16, st.sampled_from(Protocol)), U32)
def test_frontends_round_trip(key: FrontendKey, index: int) -> None:
    encoded = abi.encode_frontend_key(key)
    assert abi.decode_frontend_key(encoded) == key
    assert abi.decode_frontend(abi.encode_frontend(key, index)) == index


@given(ADDRESS, U64, st.builds(PeerRow, U64, U64), st.builds(GrantKey, U64, U64, U16))
def test_rows_of_policies_round_trip(address: bytes, policy_set: int, peer: PeerRow, grant: GrantKey) -> None:
    servers, peers, grants = (
        authorization_rows.SERVER_CODEC,
        authorization_rows.PEER_CODEC,
        authorization_rows.GRANT_CODEC,
    )
    assert servers.decode_value(servers.encode_value(address, policy_set)) == policy_set
    assert peers.decode_value(peers.encode_value(address, peer)) == peer
    assert grants.decode_key(grants.encode_key(grant)) == grant


@given(U64, ADDRESS, ADDRESS)
def test_addresses_of_protected_pods_round_trip(cgroup_id: int, ipv4: bytes, ipv6: bytes) -> None:
    codec = authorization_rows.PROTECTED_CODEC
    assert codec.decode_value(codec.encode_value(cgroup_id, (ipv4, ipv6))) == (ipv4, ipv6)
    assert codec.decode_key(codec.encode_key(cgroup_id)) == cgroup_id


def test_any_client_and_any_port_are_those_of_the_c_header() -> None:
    found = {name: int(value) for name, value in re.findall(r"#define WEFT_(ANY_\w+)\s+(\d+)", HEADER)}
    assert found == {"ANY_CLIENT": ANY_CLIENT, "ANY_PORT": ANY_PORT}


@given(st.builds(ServiceRow, U64, U16, U32))
def test_services_round_trip(row: ServiceRow) -> None:
    assert abi.decode_service(abi.encode_service(0, row)) == row


OTHERS = st.lists(ADDRESS.filter(any), max_size=abi.OTHER_WAYPOINTS).map(tuple)


CONFIGS = st.builds(
    Config,
    ADDRESS,
    ADDRESS,
    U32,
    U32,
    st.sampled_from(UnknownPodPolicy),
    other_waypoints=OTHERS,
    waypoint_connections=U32,
)


@given(CONFIGS, U64)
def test_configuration_round_trips(config: Config, epoch: int) -> None:
    assert abi.decode_config(abi.encode_config(config, epoch)) == (epoch, config)


def test_the_source_names_every_program_and_each_header_once() -> None:
    source = read_source()
    assert set(re.findall(r"^int (weft_\w+)\(", source, re.MULTILINE)) == {
        program.name for program in (*PROGRAMS, *NETWORK_PROGRAMS)
    }
    assert source.count("#define WEFT_ABI_H") == 1
    assert source_hash(source) != source_hash(source + "\n")
