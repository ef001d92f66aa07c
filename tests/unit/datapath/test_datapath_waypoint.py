"""The datapath: which clients are sent to the waypoint, and what happens when it is lost."""

import pytest

from agent.datapath.datapath import Applied, Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.addresses import Addresses, Family
from agent.ir.plan import FrontendName, OnLoss
from agent.ir.tables import Action, Config, FrontendAction, Mode, Protocol
from agent.ir.waypoint_state import WaypointState
from support.fakes.frontends import LISTENER, PORTS, READY, SMILEY, Clock, action, plan, ready, want
from support.fakes.kernel import FakeKernel


def test_traffic_goes_to_the_waypoint_only_when_the_listener_is_ready(datapath, kernel):
    want(datapath, {SMILEY: plan(1, listener=LISTENER)})
    assert action(kernel, SMILEY, Mode.L7).kind is Action.FORWARD
    datapath.apply(WaypointState(PORTS, READY))
    assert action(kernel, SMILEY, Mode.L7).kind is Action.WAYPOINT
    assert action(kernel, SMILEY, Mode.L4).kind is Action.FORWARD
    assert kernel.reach(frontend_key(SMILEY), Mode.L7)[1].waypoint_port == 20001


def test_a_service_in_mode_l7_takes_every_client_to_the_waypoint(datapath, kernel):
    want(datapath, {SMILEY: plan(1, listener=LISTENER, mode=Mode.L7)}, WaypointState(PORTS, READY))
    assert {action(kernel, SMILEY, mode).kind for mode in (Mode.L4, Mode.L7)} == {Action.WAYPOINT}


@pytest.mark.parametrize(
    ("on_loss", "expected"),
    [(OnLoss.KERNEL, Action.FORWARD), (OnLoss.REJECT, Action.REJECT)],
)
def test_a_lost_waypoint_is_answered_by_policy_until_the_listener_is_ready_again(datapath, kernel, on_loss, expected):
    frontends = {SMILEY: plan(1, listener=LISTENER, mode=Mode.L7, on_loss=on_loss)}
    want(datapath, frontends, WaypointState(PORTS, READY))
    datapath.apply(WaypointState(PORTS, unavailable=READY, lost=True))
    assert action(kernel, SMILEY, Mode.L7).kind is expected
    datapath.apply(WaypointState(PORTS))
    assert action(kernel, SMILEY, Mode.L7).kind is expected
    datapath.apply(WaypointState(PORTS, READY))
    assert action(kernel, SMILEY, Mode.L7).kind is Action.WAYPOINT


@pytest.mark.parametrize(
    ("on_loss", "expected"),
    [(OnLoss.KERNEL, Action.FORWARD), (OnLoss.REJECT, Action.REJECT)],
)
@pytest.mark.parametrize("active", ["10.244.0.2", "fd00::2"])
def test_policies_apply_to_the_family_for_which_the_waypoint_has_no_address(
    datapath, kernel, clock, active, on_loss, expected
):
    names = FrontendName("10.96.0.9", 80, Protocol.TCP), FrontendName("fd00:96::9", 80, Protocol.TCP)
    reached, other = names if ":" not in active else reversed(names)
    frontends = dict.fromkeys(names, plan(1, listener=LISTENER, mode=Mode.L7, on_loss=on_loss))
    want(datapath, frontends, WaypointState(PORTS, active=Addresses.parse(active)))
    assert {action(kernel, name, Mode.L7).kind for name in names} == {Action.FORWARD}, "no listener is ready"
    datapath.apply(WaypointState(PORTS, ready(active), active=Addresses.parse(active)))
    assert (action(kernel, reached, Mode.L7).kind, action(kernel, other, Mode.L7).kind) == (Action.WAYPOINT, expected)
    again = Datapath(kernel, Config(), clock)
    again.take_over(again.inherit(), frontends, {}, ())
    again.apply(WaypointState(PORTS, active=Addresses.parse(active)))
    assert (action(kernel, reached, Mode.L7).kind, action(kernel, other, Mode.L7).kind) == (Action.WAYPOINT, expected)


def test_clients_of_each_family_are_sent_to_the_waypoint_s_address_of_that_family(datapath, kernel):
    names = FrontendName("10.96.0.9", 80, Protocol.TCP), FrontendName("fd00:96::9", 80, Protocol.TCP)
    active = Addresses("10.244.0.2", "fd00::2")
    want(
        datapath, dict.fromkeys(names, plan(1, listener=LISTENER)), WaypointState(PORTS, ready(*active), active=active)
    )
    assert {action(kernel, name, Mode.L7) for name in names} == {FrontendAction(Action.WAYPOINT)}
    assert kernel.configuration().waypoints() == (active, [])
    assert datapath.sent_to == {(20001, Family.IPV4), (20001, Family.IPV6)}
    datapath.apply(WaypointState(PORTS, ready("10.244.0.2"), ready("fd00::2"), active=active))
    assert [action(kernel, name, Mode.L7).kind for name in names] == [Action.WAYPOINT, Action.REJECT]


def test_clients_of_both_families_are_looked_at_again_when_the_waypoint_has_another_one(datapath, kernel):
    names = FrontendName("10.96.0.9", 80, Protocol.TCP), FrontendName("fd00:96::9", 80, Protocol.TCP)
    want(datapath, dict.fromkeys(names, plan(1, listener=LISTENER, mode=Mode.L7, on_loss=OnLoss.KERNEL)))
    for active, actions in (("10.244.0.2", ["WAYPOINT", "FORWARD"]), ("fd00::2", ["FORWARD", "WAYPOINT"])):
        datapath.apply(WaypointState(PORTS, ready(active), active=Addresses.parse(active)))
        assert [action(kernel, name, Mode.L7).kind.name for name in names] == actions


@pytest.mark.parametrize("wanted", [{SMILEY: plan(1)}, {}], ids=["without-its-route", "deleted"])
def test_no_client_is_sent_to_a_new_address_for_a_frontend_that_leaves_the_waypoint_in_the_same_pass(wanted) -> None:
    kernel, clock = FakeKernel(), Clock()
    datapath = Datapath(kernel, Config(), clock)
    datapath.adopt()
    clock.now += 10
    old, new = Addresses("10.1.1.1"), Addresses("10.1.1.2")
    want(datapath, {SMILEY: plan(1, listener=LISTENER)}, WaypointState(PORTS, ready("10.1.1.1"), active=old))
    datapath.want_frontends(wanted, [] if wanted else [SMILEY])
    datapath.follow(WaypointState(active=new))
    for _ in datapath.applying(Applied()):
        address, _ = kernel.configuration().waypoints()
        if address == new and frontend_key(SMILEY) in kernel.frontends.rows:
            assert action(kernel, SMILEY, Mode.L7).kind is not Action.WAYPOINT
    assert kernel.configuration().waypoints()[0] == new
