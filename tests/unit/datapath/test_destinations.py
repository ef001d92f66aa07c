"""The tables of the client's end: what is written in which order, and what happens when something does not fit."""

from contextlib import suppress

import pytest

from agent.datapath.desired_authorization import DesiredAuthorization
from agent.datapath.destinations import Destinations
from agent.ir.authorization import (
    ANY_CLIENT,
    ANY_PORT,
    Destination,
    Grant,
    ServerPlan,
    account_id,
    peer_row,
    policy_index,
    policy_set,
)
from agent.ir.identity import Workload
from agent.ir.plan import Output, PodPlan
from agent.ir.tables import Mode, PodFlag, address_bytes
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel, InterruptedWriteError

POLICY = Key("AuthorizationPolicy", "shop", "web")
ALICE = Destination((Grant(account_id("shop", "alice"), 80),), POLICY)
BOB = Destination((Grant(account_id("shop", "bob"), ANY_PORT),), POLICY)
CLIENTS = {7: peer_row("shop", "alice")}


def pod(name: str, account: str, namespace: str = "shop") -> PodPlan:
    workload = Workload(namespace, name, name, "v1")
    key = Key("Pod", namespace, name)
    return PodPlan(key, namespace, Mode.NONE, PodFlag.NONE, ("10.1.0.9",), workload, service_account=account)


def test_a_destination_has_the_grants_of_its_policies_and_the_index_of_one() -> None:
    kernel = FakeKernel()
    Destinations(kernel).write({"10.1.0.5": ALICE, "fd00::5": ALICE}, CLIENTS)
    row = ALICE.row
    assert (row.policy_set, row.policy) == (policy_set(ALICE.grants), policy_index(POLICY))
    assert 0 < row.policy < 1 << 24
    assert kernel.destinations.rows == {address_bytes("10.1.0.5"): row, address_bytes("fd00::5"): row}
    assert [(key.policy_set, key.identity, key.port) for key in kernel.destination_grants.rows] == [
        (row.policy_set, account_id("shop", "alice"), 80)
    ]
    assert (kernel.identities.rows, kernel.destination_count) == (CLIENTS, 2)


def test_without_destinations_the_tables_are_empty_and_the_programs_look_for_none() -> None:
    kernel = FakeKernel()
    destinations = Destinations(kernel)
    destinations.write({"10.1.0.5": ALICE}, CLIENTS)
    destinations.write({}, CLIENTS)
    assert not kernel.destinations.rows | kernel.destination_grants.rows | kernel.identities.rows
    assert kernel.destination_count == 0


def test_a_policy_set_has_its_grants_whenever_a_destination_has_it() -> None:
    for writes in range(8):
        kernel = FakeKernel()
        destinations = Destinations(kernel)
        destinations.write({"10.1.0.5": ALICE}, CLIENTS)
        kernel.fuse.left = writes
        with suppress(InterruptedWriteError):
            destinations.write({"10.1.0.5": BOB, "10.1.0.6": ALICE}, CLIENTS)
        sets = {key.policy_set for key in kernel.destination_grants.rows}
        assert {row.policy_set for row in kernel.destinations.rows.values()} <= sets, writes
        kernel.fuse.left = None
        destinations.adopt()
        destinations.write({"10.1.0.5": BOB}, CLIENTS)
        assert kernel.destinations.rows == {address_bytes("10.1.0.5"): BOB.row}
        assert len(kernel.destination_grants.rows) == 1
        assert destinations.drift() == 0


def test_what_does_not_fit_is_left_to_the_server_s_node() -> None:
    kernel = FakeKernel(servers=2, grants=4)
    destinations = Destinations(kernel)
    destinations.write({f"10.1.0.{n}": ALICE for n in range(3)}, CLIENTS)
    assert (len(kernel.destinations.rows), destinations.left_out) == (2, 1)
    large = Destination(tuple(Grant(ANY_CLIENT, port) for port in range(3)), POLICY)
    destinations.write({"10.1.0.1": large, "10.1.0.2": ALICE}, CLIENTS)
    assert kernel.destinations.rows == {address_bytes("10.1.0.2"): ALICE.row}
    assert destinations.left_out == 1


def test_rows_that_others_change_are_found() -> None:
    kernel = FakeKernel()
    destinations = Destinations(kernel)
    destinations.write({"10.1.0.5": ALICE}, CLIENTS)
    kernel.destination_grants.rows.clear()
    assert destinations.drift() == 1


@pytest.mark.parametrize(("account", "namespace"), [("", "shop"), ("weft-waypoint", "weft-system")])
def test_pods_without_account_and_weft_s_own_are_not_judged(account: str, namespace: str) -> None:
    desired = DesiredAuthorization()
    desired.take("a", Output(), Output(pods={7: pod("a", account, namespace)}))
    assert desired.identities == {}


def test_pods_are_clients_and_protected_pods_destinations_whatever_their_mode() -> None:
    desired = DesiredAuthorization()
    plan = ServerPlan(Key("Pod", "shop", "web"), ("10.1.0.5",), ALICE.grants, (POLICY,), generations=(1,))
    here = Output(pods={7: pod("a", "alice")}, servers={7: plan})
    desired.take("here", Output(), here)
    desired.take("there", Output(), Output(destinations={"10.2.0.5": BOB, "10.1.0.5": BOB}))
    assert desired.identities == CLIENTS
    assert desired.destinations == {"10.1.0.5": ALICE, "10.2.0.5": BOB}, "a pod of this node is known best here"
    desired.take("here", here, Output())
    assert (desired.identities, desired.destinations) == ({}, {"10.2.0.5": BOB, "10.1.0.5": BOB})
