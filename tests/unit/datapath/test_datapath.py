"""The datapath: plan in, rows out, and at every moment something sensible for whoever connects."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.datapath.datapath import Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName, PodPlan
from agent.ir.tables import Action, Config, FrontendAction, Mode, PodFlag, Protocol, Reason, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from support.fakes.frontends import COLOR, LISTENER, PORTS, READY, SMILEY, WORKLOAD, Clock, action, hosts, plan, want
from support.fakes.kernel import FakeKernel, InterruptedWriteError


def test_a_frontend_forwards_to_its_slots(datapath, kernel):
    want(datapath, {SMILEY: plan(1, 2)})
    assert hosts(kernel, SMILEY) == {address_bytes("10.244.0.1"), address_bytes("10.244.0.2")}
    assert datapath.pending == 0


def test_no_slots_refuses(datapath, kernel):
    want(datapath, {SMILEY: plan()})
    assert action(kernel, SMILEY, Mode.L4) == FrontendAction(Action.REJECT, Reason.NO_BACKEND)


def test_the_same_plan_again_writes_nothing(datapath, kernel):
    want(datapath, {SMILEY: plan(1, 2)})
    before = kernel.writes
    assert want(datapath, {SMILEY: plan(1, 2)}).writes == 0
    assert kernel.writes == before


def test_new_endpoints_get_a_new_array_and_keep_the_index(datapath, kernel):
    want(datapath, {SMILEY: plan(1, 2)})
    index, first = kernel.frontends.rows[frontend_key(SMILEY)], action(kernel, SMILEY, Mode.L4)
    want(datapath, {SMILEY: plan(3)})
    second = action(kernel, SMILEY, Mode.L4)
    assert kernel.frontends.rows[frontend_key(SMILEY)] == index
    assert not set(range(first.base, first.base + first.count)) & set(range(second.base, second.base + second.count))


def test_a_removed_frontend_is_no_longer_found_and_its_space_comes_back(datapath, kernel, clock):
    for _ in range(200):
        want(datapath, {SMILEY: plan(1, 2)})
        want(datapath, {})
        clock.now += 1
    assert kernel.frontends.rows == {}
    assert datapath.fill["slots"] == (0, 256)
    assert datapath.fill["services"] == (0, 64)


def test_another_service_at_the_same_address_gets_another_index(datapath, kernel):
    want(datapath, {SMILEY: plan(1)})
    index = kernel.frontends.rows[frontend_key(SMILEY)]
    want(datapath, {SMILEY: plan(1, name="other")})
    assert kernel.frontends.rows[frontend_key(SMILEY)] != index
    assert kernel.reach(frontend_key(SMILEY), Mode.L4)[1].service_id == name_id("faces/other")


def test_a_restart_adopts_everything_and_writes_nothing(datapath, kernel, clock):
    desired = {SMILEY: plan(1, 2, listener=LISTENER), COLOR: plan(3, name="color")}
    want(datapath, desired, WaypointState(PORTS, READY))
    before = kernel.writes
    again = Datapath(kernel, Config(), clock)
    again.adopt()
    assert len(again.drift(again.frontend_drift())) == 0
    want(again, desired, WaypointState(PORTS))
    assert kernel.writes == before
    assert again.pending == 0


def test_what_is_not_desired_after_a_restart_is_removed(datapath, kernel, clock):
    want(datapath, {SMILEY: plan(1), COLOR: plan(2, name="color")})
    again = Datapath(kernel, Config(), clock)
    again.adopt()
    again.want_frontends({COLOR: plan(2, name="color")}, [])
    again.adopt()
    again.apply(WaypointState(PORTS))
    assert kernel.frontends.rows.keys() == {frontend_key(COLOR)}


def test_drift_is_seen_and_healed(datapath, kernel):
    want(datapath, {SMILEY: plan(1, 2), COLOR: plan(3, name="color")})
    index = kernel.frontends.rows[frontend_key(SMILEY)]
    kernel.actions.rows[2 * index] = FrontendAction(Action.PASS)
    del kernel.frontends.rows[frontend_key(COLOR)]
    assert len(datapath.drift(datapath.frontend_drift())) == 2
    datapath.adopt()
    datapath.apply(WaypointState(PORTS))
    assert len(datapath.drift(datapath.frontend_drift())) == 0
    assert hosts(kernel, SMILEY) == {address_bytes("10.244.0.1"), address_bytes("10.244.0.2")}


def test_an_action_that_forwards_to_no_slots_takes_no_space(datapath, kernel, clock):
    """Nobody should write such a row. Its range of no length, freed inside a free one, would split what is free."""
    names = [FrontendName(f"10.96.1.{number}", 80, Protocol.TCP) for number in range(4)]
    small = {name: plan(number) for number, name in enumerate(names)}
    want(datapath, small)
    index = kernel.frontends.rows[frontend_key(names[0])]
    kernel.actions.rows.update(dict.fromkeys((2 * index, 2 * index + 1), FrontendAction(Action.FORWARD, 6, 0)))
    datapath.adopt()
    for _ in range(4):
        clock.now += 1
        want(datapath, small)
        clock.now += 1
        want(datapath, small | {names[1]: plan(1, 2), names[2]: plan(1, 2, 3), names[3]: plan(1, 2, 3, 4)})
    assert datapath.fill["slots"] == (10, 256)


@pytest.mark.parametrize("shared", ["index", "slots"])
def test_rows_that_use_each_others_space_are_parted(datapath, kernel, clock, shared):
    """Nobody should write such tables. Freed twice, the space of one frontend would be given to two others."""
    names = [FrontendName(f"10.96.1.{number}", 80, Protocol.TCP) for number in range(4)]
    want(datapath, {names[0]: plan(1, 2), names[1]: plan(3, 4)})
    one, other = (kernel.frontends.rows[frontend_key(name)] for name in names[:2])
    if shared == "index":
        kernel.frontends.rows[frontend_key(names[1])] = one
    else:
        kernel.actions.rows[2 * other] = kernel.actions.rows[2 * one]
    again = Datapath(kernel, Config(), clock)
    again.adopt()
    wanted = {name: plan(10 + number) for number, name in enumerate(names)}
    for _ in range(3):
        clock.now += 2
        want(again, wanted)
        want(again, {name: wanted[name] for name in names[2:]})
        clock.now += 2
        want(again, wanted)
    assert again.pending == 0
    assert [hosts(kernel, name) for name in names] == [{address_bytes(f"10.244.0.{10 + n}")} for n in range(4)]
    assert len({kernel.frontends.rows[frontend_key(name)] for name in names}) == 4
    assert len(again.drift(again.frontend_drift())) == 0


def test_what_has_to_wait_for_resting_space_is_no_failure(datapath, kernel, clock):
    want(datapath, {COLOR: plan(2, name="color")})
    again = Datapath(kernel, Config(), clock)
    again.adopt()
    want(again, {COLOR: plan(2, name="color"), SMILEY: plan(1)})
    assert again.failures == {}
    assert again.pending == 1
    clock.now += 1
    want(again, {COLOR: plan(2, name="color"), SMILEY: plan(1)})
    assert again.pending == 0


def test_pods_are_enrolled_last_and_removed_first(datapath, kernel):
    pod = PodPlan(Key("Pod", "faces", "face"), "faces", Mode.L4, PodFlag.NONE, ("10.244.0.9",), WORKLOAD)
    datapath.want_pods({42: pod})
    datapath.want_frontends({SMILEY: plan(1)}, [])
    kernel.fuse.left = 4  # slot, service, two actions: the frontend itself no more
    with pytest.raises(InterruptedWriteError):
        datapath.apply(WaypointState(PORTS))
    assert kernel.pods.rows == {}
    kernel.fuse.left = None
    datapath.adopt()
    datapath.apply(WaypointState(PORTS))
    assert kernel.pods.rows.keys() == {42}
    datapath.want_pods({})
    datapath.apply(WaypointState(PORTS))
    assert kernel.pods.rows == {}


states = st.dictionaries(
    st.sampled_from([SMILEY, COLOR, FrontendName("10.96.0.1", 80, Protocol.TCP, "consumer")]),
    st.builds(
        lambda hosts, name, listener, mode: plan(*hosts, name=name, listener=listener, mode=mode),
        st.lists(st.integers(1, 9), max_size=4, unique=True),
        st.sampled_from(["smiley", "color"]),
        st.sampled_from([None, LISTENER]),
        st.sampled_from([Mode.L4, Mode.L7]),
    ),
)


@settings(max_examples=200)
@given(st.lists(states, min_size=2, max_size=5), st.integers(0, 30), st.sets(st.just(LISTENER)))
def test_a_stop_at_any_write_leaves_every_client_with_an_old_or_a_new_answer(sequence, stop, ready):
    kernel, clock = FakeKernel(), Clock()
    datapath, waypoint = Datapath(kernel, Config(), clock), WaypointState(PORTS, READY if ready else frozenset())
    datapath.adopt()
    before, last = sequence[-2], sequence[-1]
    for state in sequence[:-1]:
        want(datapath, state, waypoint)
        clock.now += 2
    kernel.fuse.left = stop
    try:
        want(datapath, last, waypoint)
    except InterruptedWriteError:
        clock.now += 2
    for name in before.keys() | last.keys():
        for client in (Mode.L4, Mode.L7):
            found = kernel.reach(frontend_key(name), client)
            if found is not None:
                allowed = [state[name] for state in (before, last) if name in state]
                assert found[1].service_id in {name_id(f"faces/{p.service.name}") for p in allowed}
                sets = [frozenset((s.address, s.port, s.reject) for s in p.slots) for p in allowed]
                assert found[0].kind is not Action.FORWARD or found[2] in sets
    kernel.fuse.left = None
    datapath.adopt()
    clock.now += 2
    datapath.apply(waypoint)
    assert datapath.pending == 0
    fresh_kernel = FakeKernel()
    fresh = Datapath(fresh_kernel, Config(), clock)
    fresh.adopt()
    want(fresh, last, waypoint)
    assert kernel.frontends.rows.keys() == fresh_kernel.frontends.rows.keys()
    for name in last:
        for client in (Mode.L4, Mode.L7):
            (action, _, reached), (_, _, wanted) = (k.reach(frontend_key(name), client) for k in (kernel, fresh_kernel))
            if not (last[name].listener and action.kind is Action.WAYPOINT):
                assert reached == wanted
