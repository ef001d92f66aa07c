"""The controller of authorization: what it writes and when, and what it leaves as it is until everything is known."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from errno import EIO

import pytest

from agent.datapath.desired_authorization import DesiredAuthorization
from agent.ir.authorization import ALLOW_ALL, NODE_ROW, Grant, ServerPlan, account_id, peer_row, policy_set
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.ir.tables import address_bytes
from agent.model.change import Upsert
from agent.model.meta import Key
from agent.node import authorization_controller
from agent.node.authorization_controller import AuthorizationController, Enforced, Servers
from support.fakes.kernel import FakeKernel
from support.policies import versioned

SERVER, CLIENT, NODE = (address_bytes(address) for address in ("10.1.0.5", "10.2.0.9", "10.0.0.1"))
ALICE = ServiceAccount("shop", "alice")
PLAN = ServerPlan(
    Key("Pod", "shop", "web"),
    ("10.1.0.5",),
    (Grant(account_id("shop", "alice"), 80),),
    (Key("AuthorizationPolicy", "shop", "p"),),
    frozenset({ALICE}),
)
PROTECTED, UNPROTECTED = Output(servers={7: PLAN}), Output()


class Surroundings:
    """Guards, and the source of clients, in memory."""

    def __init__(self) -> None:
        self.guarded: Servers = {}
        self.audited: Servers = {}
        self.looks = 0
        self.complete: list[bool] = []
        self.broken = False
        self.accounts: frozenset[ServiceAccount] = frozenset()
        self.accounts_listed = True
        self.drifts: list[int] = []
        self.revocations: list[Servers] = []

    def revoke(self) -> None:
        self.revocations.append(self.guarded)

    def look(self, servers: Servers, complete: bool, audited: Servers) -> None:
        self.looks += 1
        self.audited = audited
        self.complete.append(complete)
        if self.broken:
            raise OSError(EIO, "broken")
        self.guarded = servers

    def want_accounts(self, accounts: frozenset[ServiceAccount]) -> None:
        self.accounts = accounts


class Bench:
    """A controller with all that it needs."""

    def __init__(self) -> None:
        self.kernel, self.around = FakeKernel(), Surroundings()
        around = self.around
        self.controller = AuthorizationController(
            self.kernel, around, around, lambda: ["10.0.0.1"], around.revoke, around.drifts.append, audit_seconds=0.05
        )
        self.task = asyncio.create_task(self.controller.run())

    @property
    def desired(self) -> DesiredAuthorization:
        return self.controller.desired

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.task.cancel()


async def test_nothing_is_changed_before_everything_is_known(bench: Bench):
    bench.kernel.servers.rows[SERVER] = PLAN.policy_set
    bench.desired.take("web", UNPROTECTED, Output(peers={"10.2.0.9": NODE_ROW}))
    await asyncio.sleep(0.1)
    assert (bench.around.looks, bench.kernel.servers.writes, bench.kernel.peers.writes) == (0, 0, 0)
    assert not bench.controller.reconciling


async def test_a_protected_pod_gets_its_rows_and_its_guard_and_its_clients_are_asked_for(bench: Bench):
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    assert bench.controller.reconciling
    await bench.until(lambda: not bench.controller.reconciling)
    assert bench.kernel.servers.rows == {SERVER: PLAN.policy_set}
    assert bench.kernel.peers.rows == {NODE: NODE_ROW}
    assert (bench.around.guarded, bench.around.accounts) == ({7: PLAN}, {ALICE})


async def test_a_pod_that_no_policy_selects_any_more_keeps_a_row_while_its_guard_cannot_be_removed(bench: Bench):
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded)
    bench.around.broken = True
    bench.desired.take("web", PROTECTED, UNPROTECTED)
    await bench.until(lambda: bench.kernel.servers.rows == {SERVER: policy_set(ALLOW_ALL)})
    before = bench.around.looks
    await bench.until(lambda: bench.around.looks > before)
    assert bench.kernel.servers.rows
    bench.around.broken = False
    await bench.until(lambda: not bench.kernel.servers.rows)
    assert (bench.around.guarded, bench.around.accounts) == ({}, frozenset())


async def test_policies_are_enforced_once_a_whole_step_has_ended(bench: Bench):
    """The guards are attached, and all clients that the policies name are known."""
    bench.controller.start()
    bench.around.broken = True
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    bench.desired.observe([Upsert(versioned())])
    before = bench.around.looks
    await bench.until(lambda: bench.around.looks > before + 1)
    assert bench.controller.enforced is None
    bench.around.broken, bench.around.accounts_listed = False, False
    await bench.until(lambda: bench.around.guarded)
    assert bench.controller.enforced is None
    bench.around.accounts_listed = True
    await bench.until(lambda: bench.controller.enforced)
    assert bench.controller.enforced == Enforced(bench.desired.versions.digest, {7: PLAN}, {})


async def test_a_policy_that_selects_no_pod_is_processed_too(bench: Bench):
    changes: list[str] = []
    bench.controller.on_change(lambda: changes.append("changed"))
    bench.controller.start()
    for generation in (1, 2):
        changes.clear()
        bench.desired.observe([Upsert(versioned(generation=generation))])
        await bench.until(
            lambda: bench.controller.enforced and bench.controller.enforced.observed == bench.desired.versions.digest
        )
        assert changes == ["changed", "changed"], "what is desired, and then what is enforced"


async def test_clients_that_an_earlier_agent_knew_stay_until_the_accounts_are_listed(bench: Bench):
    bench.kernel.peers.rows[CLIENT] = peer_row("shop", "alice")
    bench.around.accounts_listed = False
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded)
    assert set(bench.kernel.peers.rows) == {CLIENT, NODE}
    assert not any(bench.around.complete), "its guards stay as they are, too"
    bench.around.accounts_listed = True
    await bench.until(lambda: set(bench.kernel.peers.rows) == {NODE})
    await bench.until(lambda: bench.around.complete[-1])


async def test_guards_of_an_earlier_agent_do_not_wait_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(authorization_controller, "CLIENTS_SECONDS", 0.0)
    bench.around.accounts_listed = False
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded)
    assert all(bench.around.complete)


async def test_rows_that_others_changed_are_repaired(bench: Bench):
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded)
    bench.kernel.servers.rows[SERVER] = policy_set(ALLOW_ALL)
    await bench.until(lambda: bench.kernel.servers.rows == {SERVER: PLAN.policy_set})
    assert bench.around.drifts == [1]


async def test_a_write_that_fails_is_tried_again(bench: Bench):
    bench.controller.start()
    bench.kernel.fuse.left = 0
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await asyncio.sleep(0.05)
    assert not bench.kernel.servers.rows
    bench.kernel.fuse.left = None
    await bench.until(lambda: bench.kernel.servers.rows == {SERVER: PLAN.policy_set})


async def test_connections_are_ended_when_the_guards_are_there_and_not_again(bench: Bench):
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded)
    before = bench.around.looks
    await bench.until(lambda: bench.around.looks > before + 1)
    assert bench.around.revocations == [{7: PLAN}]
    bench.around.broken = True
    bench.desired.take("web", PROTECTED, Output(servers={7: replace(PLAN, grants=())}))
    before = bench.around.looks
    await bench.until(lambda: bench.around.looks > before + 1)
    assert len(bench.around.revocations) == 1
    bench.around.broken = False
    await bench.until(lambda: len(bench.around.revocations) == 2)


async def test_tables_are_compared_only_when_something_changed(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.controller.start()
    bench.desired.take("web", UNPROTECTED, PROTECTED)
    await bench.until(lambda: bench.around.guarded and not bench.controller.reconciling)
    written: list[DesiredAuthorization] = []
    monkeypatch.setattr(bench.controller.tables, "write", lambda desired: bool(written.append(desired)))
    before = bench.around.looks
    await bench.until(lambda: bench.around.looks > before + 1)
    assert written == []
    bench.desired.take("client", UNPROTECTED, Output(peers={"10.2.0.9": peer_row("shop", "alice")}))
    await bench.until(lambda: written)
