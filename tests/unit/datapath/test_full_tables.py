"""Tables that are full: a steady state that is named, hurts nobody else, and ends when there is space."""

from agent.datapath.allocate import QUARANTINE_SECONDS
from agent.datapath.datapath import Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.identity import Workload
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import Config, Mode, PodFlag, Protocol, Slot, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from support.fakes.frontends import Clock
from support.fakes.kernel import FakeKernel

FIRST, SECOND, THIRD = (FrontendName(f"10.96.0.{number}", 80, Protocol.TCP) for number in (1, 2, 3))
NO_WAYPOINT = WaypointState({})


def plan(*hosts: int, namespace: str = "faces") -> FrontendPlan:
    slots = (Slot(address_bytes(f"10.244.0.{host}"), 8080, False, at, 2**32) for at, host in enumerate(hosts))
    return FrontendPlan(Key("Service", namespace, "smiley"), Mode.L4, tuple(slots))


def refusal(resource: str, has: int, wants: int, may: int) -> str:
    return (
        f"budget of {resource}: namespace faces has {has}, wants {wants} more, and may have {may}: "
        "no more than it leaves free"
    )


def pod(name: str) -> PodPlan:
    workload = Workload("faces", name, name, "latest")
    return PodPlan(Key("Pod", "faces", name), "faces", Mode.L4, PodFlag.NONE, (), workload)


def started(kernel: FakeKernel, clock: Clock) -> Datapath:
    made = Datapath(kernel, Config(), clock)
    made.adopt()
    return made


def want(datapath: Datapath, **plans: FrontendPlan | None) -> None:
    names = {"first": FIRST, "second": SECOND, "third": THIRD}
    gone = [names[name] for name, plan in plans.items() if plan is None]
    datapath.want_frontends({names[name]: plan for name, plan in plans.items() if plan is not None}, gone)
    datapath.apply(NO_WAYPOINT)


def backends(kernel: FakeKernel, name: FrontendName) -> set[bytes] | None:
    found = kernel.reach(frontend_key(name), Mode.L4)
    return {address for address, _, _ in found[2]} if found else None


def retried(datapath: Datapath, clock: Clock) -> int:
    """Passes when one is due, and only then, until none is due any more; returns how many there were."""
    passes = 0
    while datapath.retry_at is not None:
        clock.now = max(clock.now, datapath.retry_at)
        datapath.apply(NO_WAYPOINT)
        assert datapath.pending == 0
        passes += 1
        assert passes < 10
    return passes


def test_frontends_without_slots_or_without_an_index_are_named_and_not_pending(clock: Clock):
    kernel = FakeKernel(frontends=4, slots=8)
    datapath = started(kernel, clock)
    want(datapath, first=plan(1, 2, 3, 4, 5), second=plan(6))
    assert datapath.failures == {"10.96.0.1:80/TCP": refusal("slots", 1, 5, 4)}
    want(datapath, first=plan(1), third=plan(7))
    assert datapath.failures == {"10.96.0.3:80/TCP": refusal("frontends", 2, 1, 2)}
    assert (datapath.pending, datapath.rejected_rows) == (0, {"frontends": 1, "pods": 0, "clients": 0, "config": 0})
    assert [backends(kernel, name) for name in (FIRST, SECOND, THIRD)] == [
        {address_bytes("10.244.0.1")},
        {address_bytes("10.244.0.6")},
        None,
    ]


def test_nothing_is_tried_again_while_no_space_was_given_back(clock: Clock):
    datapath = started(FakeKernel(frontends=2), clock)
    want(datapath, first=plan(1), second=plan(2))
    assert (datapath.retry_at, datapath.retry_due) == (None, False)


def test_a_frontend_that_did_not_fit_is_tried_again_when_another_is_gone(clock: Clock):
    kernel = FakeKernel(frontends=2)
    datapath = started(kernel, clock)
    want(datapath, first=plan(1), second=plan(2))
    want(datapath, first=None)
    assert (datapath.pending, datapath.failures.keys()) == (0, {"10.96.0.2:80/TCP"}), "what was freed still rests"
    assert datapath.retry_at == clock.now + QUARANTINE_SECONDS
    assert retried(datapath, clock) == 1
    assert (datapath.failures, backends(kernel, SECOND)) == ({}, {address_bytes("10.244.0.2")})


def test_space_in_pieces_is_used_once_they_are_joined(clock: Clock):
    """The budget has room for three slots, but the free ones are in three places, two in each."""
    datapath = started(FakeKernel(slots=16), clock)
    names = [FrontendName(f"10.96.1.{number}", 80, Protocol.TCP) for number in range(7)]
    owners = ("a", "b", "a", "b", "c", "d", "e")
    for name, owner in zip(names, owners, strict=True):
        datapath.want_frontends({name: plan(1, 2, namespace=owner)}, [])
        datapath.apply(NO_WAYPOINT)
    datapath.want_frontends({}, [names[0], names[2]])
    datapath.apply(NO_WAYPOINT)
    clock.now += QUARANTINE_SECONDS
    want(datapath, first=plan(1, 2, 3))
    assert datapath.failures == {"10.96.0.1:80/TCP": "no room for 3 in 16, 10 of them in use"}
    datapath.want_frontends({}, [names[1]])
    datapath.apply(NO_WAYPOINT)
    retried(datapath, clock)
    assert datapath.failures == {}


def test_frontends_that_lack_an_index_do_not_keep_slots_from_others(clock: Clock):
    """The first of them by name would take the only free slots at each try, and give them back to rest."""
    kernel = FakeKernel(frontends=4, slots=8)
    datapath = started(kernel, clock)
    want(datapath, second=plan(1), third=plan(2))
    want(datapath, first=plan(3, 4), third=plan(5, 6))
    assert datapath.failures.keys() == {"10.96.0.1:80/TCP"}
    assert backends(kernel, THIRD) == {address_bytes("10.244.0.5"), address_bytes("10.244.0.6")}
    assert retried(datapath, clock) == 1
    assert datapath.failures.keys() == {"10.96.0.1:80/TCP"}


def test_a_frontend_that_is_not_wanted_any_more_does_not_fail(clock: Clock):
    datapath = started(FakeKernel(slots=4), clock)
    want(datapath, first=plan(1, 2, 3, 4, 5))
    want(datapath, first=None)
    assert (datapath.failures, datapath.rejected_rows["frontends"]) == ({}, 0)


def test_a_frontend_that_no_longer_fits_keeps_what_it_has(clock: Clock):
    kernel = FakeKernel(slots=4)
    datapath = started(kernel, clock)
    want(datapath, first=plan(1, 2))
    want(datapath, first=plan(1, 2, 3))
    assert (datapath.pending, datapath.failures.keys()) == (0, {"10.96.0.1:80/TCP"})
    assert backends(kernel, FIRST) == {address_bytes("10.244.0.1"), address_bytes("10.244.0.2")}


def test_pods_without_a_row_are_named_and_get_one_when_another_leaves(clock: Clock):
    kernel = FakeKernel(pods=2)
    datapath = started(kernel, clock)
    datapath.want_frontends({FIRST: plan(1)}, [])
    datapath.want_pods({number: pod(f"p{number}") for number in (1, 2, 3)})
    datapath.apply(NO_WAYPOINT)
    assert datapath.failures == {"Pod faces/p3": "no room for more than 2 pods"}
    assert (datapath.pending, datapath.rejected_rows["pods"]) == (0, 1)
    assert kernel.pods.rows.keys() == {1, 2}
    datapath.want_pods({number: pod(f"p{number}") for number in (2, 3)})
    assert datapath.pending == 1
    datapath.apply(NO_WAYPOINT)
    assert (datapath.failures, datapath.pending, kernel.pods.rows.keys()) == ({}, 0, {2, 3})


def test_a_pod_that_has_a_row_is_changed_also_in_a_full_table(clock: Clock):
    kernel = FakeKernel(pods=1)
    datapath = started(kernel, clock)
    datapath.want_pods({1: pod("a"), 2: pod("b")})
    datapath.apply(NO_WAYPOINT)
    before = kernel.pods.rows[1]
    datapath.want_pods({1: pod("other"), 2: pod("b")})
    datapath.apply(NO_WAYPOINT)
    assert kernel.pods.rows.keys() == {1}
    assert kernel.pods.rows[1] != before
