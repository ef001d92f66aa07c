"""The tables of authorization: what is written in which order, and what happens when something does not fit."""

import pytest

from agent.datapath.authorization import Authorization
from agent.datapath.authorization_rows import read_unchanged
from agent.datapath.desired_authorization import DesiredAuthorization
from agent.ir.authorization import (
    ALLOW_ALL,
    ANY_CLIENT,
    ANY_PORT,
    DENY_ALL,
    NODE_ROW,
    Grant,
    GrantKey,
    ServerPlan,
    UnsupportedPod,
    account_id,
    peer_row,
    policy_set,
    waypoint_row,
)
from agent.ir.plan import Output
from agent.ir.tables import address_bytes
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel

WEB, SERVER, CLIENT = Key("Pod", "shop", "web"), "10.1.0.5", "10.2.0.9"
ALICE = (Grant(account_id("shop", "alice"), 80),)
BOB = (Grant(account_id("shop", "bob"), ANY_PORT),)


def plan(grants: tuple[Grant, ...], *addresses: str, pod: Key = WEB) -> ServerPlan:
    return ServerPlan(pod, addresses or (SERVER,), grants, (Key("AuthorizationPolicy", "shop", "p"),))


def desired(*plans: ServerPlan, peers: tuple[str, ...] = ()) -> DesiredAuthorization:
    found = DesiredAuthorization()
    rows = dict.fromkeys(peers, peer_row("shop", "alice"))
    found.take(WEB, Output(), Output(servers=dict(enumerate(plans)), peers=rows))
    return found


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def tables(kernel: FakeKernel) -> Authorization:
    made = Authorization(kernel)
    made.inherit()
    return made


@pytest.mark.parametrize("table", ["servers", "peers", "grants"])
def test_a_change_between_two_reads_revokes_nobody(
    kernel: FakeKernel, tables: Authorization, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends connections reads three tables, one after the other, while the agent replaces a policy set."""
    tables.write(desired(plan(ALICE), peers=(CLIENT,)))
    load = getattr(kernel, table).load

    def changed() -> object:
        found = load()
        tables.write(desired(plan((*ALICE, *BOB)), peers=(CLIENT,)))
        return found

    monkeypatch.setattr(getattr(kernel, table), "load", changed)
    rows = read_unchanged(kernel)
    assert all(rows.admits(server, address_bytes(CLIENT), 80) for server in rows.servers)


def admitted(kernel: FakeKernel, address: str = SERVER) -> set[Grant] | None:
    """The grants in force at an address, None where it has no row."""
    number = kernel.servers.rows.get(address_bytes(address))
    if number is None:
        return None
    return {Grant(key.identity, key.port) for key in kernel.grants.rows if key.policy_set == number}


def test_a_protected_pod_and_its_clients_have_rows(kernel: FakeKernel, tables: Authorization):
    tables.want_node(["10.0.0.1"])
    tables.write(desired(plan(ALICE), peers=(CLIENT,)))
    assert admitted(kernel) == set(ALICE)
    rows = {CLIENT: peer_row("shop", "alice"), "10.0.0.1": NODE_ROW}
    assert kernel.peers.rows == {address_bytes(address): row for address, row in rows.items()}


def test_what_is_written_already_is_not_written_again(kernel: FakeKernel, tables: Authorization):
    wanted = desired(plan(ALICE), peers=(CLIENT,))
    assert tables.write(wanted)
    before = (kernel.servers.writes, kernel.peers.writes, kernel.grants.writes)
    assert not tables.write(wanted)
    assert (kernel.servers.writes, kernel.peers.writes, kernel.grants.writes) == before


@pytest.mark.parametrize("writes", range(4))
def test_a_change_that_is_interrupted_leaves_the_old_policy_or_the_new_one(writes: int, kernel: FakeKernel):
    tables = Authorization(kernel)
    both = (*ALICE, *BOB)
    tables.write(desired(plan(both)))
    kernel.fuse.left = writes
    with pytest.raises(OSError, match="interrupted"):
        tables.write(desired(plan((Grant(1, 1), Grant(2, 2)))))
    kernel.fuse.left = None
    assert admitted(kernel) in (set(both), {Grant(1, 1), Grant(2, 2)})
    tables.adopt()
    tables.write(desired(plan(BOB)))
    assert admitted(kernel) == set(BOB)
    assert {key.policy_set for key in kernel.grants.rows} == {policy_set(BOB)}


def test_grants_that_no_pod_has_are_deleted(kernel: FakeKernel, tables: Authorization):
    tables.write(desired(plan(ALICE)))
    tables.write(desired(plan(BOB)))
    assert set(kernel.grants.rows) == {GrantKey(policy_set(BOB), BOB[0].identity, ANY_PORT)}


def test_pods_with_equal_grants_share_a_set(kernel: FakeKernel, tables: Authorization):
    tables.write(desired(plan(ALICE), plan(ALICE, "10.1.0.6", pod=Key("Pod", "shop", "web-2"))))
    assert len(set(kernel.servers.rows.values())) == len(kernel.grants.rows) == 1


def test_a_pod_without_grants_has_the_set_that_denies_all(kernel: FakeKernel, tables: Authorization):
    tables.write(desired(plan(())))
    assert (kernel.servers.rows, kernel.grants.rows) == ({address_bytes(SERVER): DENY_ALL}, {})


def test_an_address_that_is_not_protected_any_more_admits_everyone_until_its_guard_is_gone(
    kernel: FakeKernel, tables: Authorization
):
    tables.write(desired(plan(ALICE)))
    tables.write(desired())
    assert admitted(kernel) == set(ALLOW_ALL)
    tables.release([SERVER])
    assert admitted(kernel) == set(ALLOW_ALL)
    tables.release([])
    assert (kernel.servers.rows, kernel.grants.rows) == ({}, {})


def test_a_pod_whose_grants_do_not_fit_refuses_all_and_is_named():
    kernel = FakeKernel(grants=8)
    tables = Authorization(kernel)
    greedy = plan(tuple(Grant(number, ANY_PORT) for number in range(1, 6)))
    other = plan(ALICE, "10.1.0.6", pod=Key("Pod", "bank", "web"))
    tables.write(desired(greedy, other))
    assert kernel.servers.rows[address_bytes(SERVER)] == DENY_ALL
    assert admitted(kernel, "10.1.0.6") == set(ALICE)
    assert "namespace shop has 0, wants 5 more" in tables.rejected["policies of Pod shop/web"]
    assert tables.refused == {("grants", "shop"): 1}
    tables.write(desired(plan(ALICE)))
    assert (admitted(kernel), tables.rejected, tables.refused) == (set(ALICE), {}, {})


def test_the_pods_that_have_no_room_for_their_addresses_are_named_and_have_no_row():
    kernel = FakeKernel(servers=1)
    tables = Authorization(kernel)
    tables.write(desired(plan(ALICE), plan(ALICE, "10.1.0.6", pod=Key("Pod", "shop", "web-2"))))
    assert (admitted(kernel), admitted(kernel, "10.1.0.6")) == (set(ALICE), None)
    assert set(tables.rejected) == {"policies of Pod shop/web-2"}


def test_a_client_that_is_gone_has_no_row_and_one_that_an_earlier_agent_knew_keeps_it_until_all_are_known(
    kernel: FakeKernel, tables: Authorization
):
    tables.write(desired(peers=(CLIENT,)))
    later = Authorization(kernel)
    later.inherit()
    later.write(desired(peers=("10.2.0.10",)))
    assert set(kernel.peers.rows) == {address_bytes(CLIENT), address_bytes("10.2.0.10")}
    later.write(desired())
    assert set(kernel.peers.rows) == {address_bytes(CLIENT)}
    later.forget_inherited()
    later.write(desired())
    assert kernel.peers.rows == {}


def test_peers_without_room_are_counted():
    kernel = FakeKernel(peers=1)
    tables = Authorization(kernel)
    tables.write(desired(peers=(CLIENT, "10.2.0.10", "10.2.0.11")))
    assert tables.rejected == {"peers": "no room for more than 1 peers: 2 more are refused"}


def test_outputs_of_units_are_added_up():
    changes: list[None] = []
    found = DesiredAuthorization(lambda: changes.append(None))
    first, second = Output(servers={1: plan(ALICE)}), Output(servers={2: plan(BOB)}, peers={CLIENT: NODE_ROW})
    found.take("first", Output(), first)
    found.take("second", Output(), second)
    found.take("first", first, first)
    assert (set(found.servers), len(changes)) == ({1, 2}, 2)
    found.take("second", second, Output())
    assert (set(found.servers), found.peers) == ({1}, {})


def test_the_latest_pod_with_an_address_counts_until_it_is_gone():
    found, address = DesiredAuthorization(), address_bytes(CLIENT)
    old, new = (Output(peers={CLIENT: peer_row("shop", name)}) for name in ("alice", "bob"))
    found.take("old", Output(), old)
    found.take("new", Output(), new)
    assert found.peers == {address: peer_row("shop", "bob")}
    found.take("new", new, Output())
    assert found.peers == {address: peer_row("shop", "alice")}


@pytest.mark.parametrize("number", [policy_set(ALICE), DENY_ALL], ids=["of a policy", "of nobody"])
def test_a_grant_that_others_added_is_removed(number: int, kernel: FakeKernel, tables: Authorization):
    wanted = desired(plan(ALICE), plan((), "10.1.0.6", pod=Key("Pod", "shop", "db")))
    tables.write(wanted)
    before = dict(kernel.grants.rows)
    kernel.grants.rows[GrantKey(number, ANY_CLIENT, ANY_PORT)] = True
    assert tables.drift() == 1
    tables.adopt()
    tables.write(wanted)
    assert (kernel.grants.rows, tables.drift()) == (before, 0)


def test_rows_that_others_changed_are_counted_and_repaired(kernel: FakeKernel, tables: Authorization):
    wanted = desired(plan(ALICE), peers=(CLIENT,))
    tables.write(wanted)
    assert tables.drift() == 0
    kernel.servers.rows[address_bytes(SERVER)] = policy_set(ALLOW_ALL)
    kernel.peers.rows[address_bytes("10.9.9.9")] = NODE_ROW
    kernel.grants.rows.clear()
    assert tables.drift() == 3
    tables.adopt()
    tables.write(wanted)
    assert (admitted(kernel), set(kernel.peers.rows), tables.drift()) == (set(ALICE), {address_bytes(CLIENT)}, 0)


def test_a_waypoint_has_its_identity_where_no_pod_of_others_has_the_address() -> None:
    desired = DesiredAuthorization()
    desired.take("waypoint pod", Output(), Output(peers={"10.9.0.2": peer_row("weft-system", "weft-waypoint")}))
    desired.take("victim", Output(), Output(peers={"10.9.0.3": peer_row("shop", "web")}))
    reported = {address: waypoint_row("n2") for address in ("10.9.0.2", "10.9.0.3", "10.9.0.4")}
    desired.take("report", Output(), Output(waypoints=reported))
    assert desired.peers == {
        address_bytes("10.9.0.2"): waypoint_row("n2"),
        address_bytes("10.9.0.3"): peer_row("shop", "web"),
        address_bytes("10.9.0.4"): waypoint_row("n2"),
    }
    desired.take("report", Output(waypoints=reported), Output())
    assert desired.peers[address_bytes("10.9.0.2")] == peer_row("weft-system", "weft-waypoint")
    assert len(desired.peers) == 2


def test_pods_that_cannot_be_protected_are_known_while_they_exist() -> None:
    changes: list[None] = []
    found, pod = DesiredAuthorization(lambda: changes.append(None)), UnsupportedPod(WEB, (), (), "hostNetwork")
    found.take(WEB, Output(), Output(unsupported={7: pod}))
    assert (found.unsupported, len(changes)) == ({7: pod}, 1)
    found.take(WEB, Output(unsupported={7: pod}), Output())
    assert (found.unsupported, len(changes)) == ({}, 2)
