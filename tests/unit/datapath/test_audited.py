"""The tables of audited policies: the order of writes, and what happens when something does not fit."""

from contextlib import suppress

import pytest

from agent.datapath.audited import Audited
from agent.ir.authorization import ANY_PORT, Grant, ServerPlan, account_id
from agent.ir.tables import address_bytes
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel, InterruptedWriteError

ALICE = (Grant(account_id("shop", "alice"), 80),)
BOB = (Grant(account_id("shop", "bob"), ANY_PORT),)
POLICY = Key("AuthorizationPolicy", "shop", "p")


def plan(grants: tuple[Grant, ...], *addresses: str, pod: str = "web") -> ServerPlan:
    return ServerPlan(Key("Pod", "shop", pod), addresses or ("10.1.0.5",), grants, (POLICY,))


def test_a_pod_has_a_row_and_the_grants_of_its_set():
    kernel = FakeKernel()
    audited = Audited(kernel)
    audited.write({7: plan(ALICE, "10.1.0.5", "fd00::5"), 8: plan(ALICE, "10.1.0.6", pod="api")})
    assert set(kernel.audited.rows) == {address_bytes(at) for at in ("10.1.0.5", "fd00::5", "10.1.0.6")}
    assert [(key.identity, key.port) for key in kernel.audited_grants.rows] == [(account_id("shop", "alice"), 80)]
    audited.write({})
    assert not kernel.audited.rows | kernel.audited_grants.rows
    assert not kernel.servers.rows | kernel.grants.rows, "nothing of it is enforced"


@pytest.mark.parametrize("writes", range(8))
def test_a_row_has_the_grants_of_its_set_at_every_moment(writes: int):
    kernel = FakeKernel()
    audited = Audited(kernel)
    audited.write({7: plan(ALICE)})
    kernel.fuse.left = writes
    with suppress(InterruptedWriteError):
        audited.write({7: plan(BOB)})
    for number in kernel.audited.rows.values():
        assert any(key.policy_set == number for key in kernel.audited_grants.rows)


def test_what_does_not_fit_is_not_counted_and_named():
    kernel = FakeKernel(servers=64, grants=4)
    audited = Audited(kernel)
    audited.write({7: plan(ALICE * 1 + BOB, pod="a"), 8: plan((Grant(1, 2),), "10.1.0.6", pod="b")})
    assert set(kernel.audited.rows) == {address_bytes("10.1.0.5")}
    assert list(audited.rejected) == ["audited policies of Pod shop/b"]


def test_rows_of_others_are_drift_and_are_repaired_after_adoption():
    kernel = FakeKernel()
    audited = Audited(kernel)
    audited.write({7: plan(ALICE)})
    kernel.audited.rows.clear()
    assert audited.drift() == 1
    audited.adopt()
    audited.write({7: plan(ALICE)})
    assert (audited.drift(), len(kernel.audited.rows)) == (0, 1)
