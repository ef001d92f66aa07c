"""Which frontends lost backends, and when that is told."""

import itertools
from dataclasses import replace

from agent.datapath.datapath import Datapath
from agent.datapath.driver import BackendsRemoved
from agent.ir.plan import FrontendName, FrontendPlan, OnBackendLoss
from agent.ir.tables import Config, Mode, Protocol, Slot, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel

DNS = FrontendName("10.96.0.10", 53, Protocol.UDP)
TCP = replace(DNS, protocol=Protocol.TCP)
FRONTEND = (address_bytes("10.96.0.10"), 53)


def plan(*hosts: int, loss: OnBackendLoss = OnBackendLoss.KEEP, mode: Mode = Mode.L4) -> FrontendPlan:
    slots = tuple(Slot(address_bytes(f"10.1.0.{host}"), 53, False, at, 2**32) for at, host in enumerate(hosts))
    refused = Slot(bytes(16), 0, True, 0, 2**32)
    return FrontendPlan(Key("Service", "kube-system", "dns"), mode, (*slots, refused), on_backend_loss=loss)


def left(protocol: Protocol, *hosts: int) -> BackendsRemoved:
    return BackendsRemoved(protocol, FRONTEND, frozenset((address_bytes(f"10.1.0.{host}"), 53) for host in hosts))


def started(kernel: FakeKernel | None = None) -> Datapath:
    clock = itertools.count(step=10)  # nothing rests for long
    made = Datapath(kernel or FakeKernel(), Config(), lambda: float(next(clock)))
    made.adopt()
    return made


def removals(datapath: Datapath, name: FrontendName, now: FrontendPlan | None) -> list[BackendsRemoved]:
    datapath.want_frontends({name: now} if now else {}, [] if now else [name])
    return datapath.apply(WaypointState({})).backends_removed


def test_udp_tells_what_is_left():
    datapath = started()
    assert removals(datapath, DNS, plan(1, 2)) == []
    assert removals(datapath, DNS, plan(1, 2, 3)) == []
    assert removals(datapath, DNS, plan(2)) == [left(Protocol.UDP, 2)]
    assert removals(datapath, DNS, plan(2)) == []
    assert removals(datapath, DNS, None) == [left(Protocol.UDP)]


def test_another_weight_or_mode_is_no_loss():
    datapath = started()
    removals(datapath, DNS, plan(1, 2))
    assert removals(datapath, DNS, plan(2, 1, mode=Mode.L7)) == []


def test_tcp_tells_only_where_the_service_asks_for_it():
    datapath = started()
    removals(datapath, TCP, plan(1, 2))
    assert removals(datapath, TCP, plan(1)) == []
    assert removals(datapath, TCP, plan(1, 2, loss=OnBackendLoss.RESET)) == []
    assert removals(datapath, TCP, plan(2, loss=OnBackendLoss.RESET)) == [left(Protocol.TCP, 2)]
    assert removals(datapath, TCP, None) == [left(Protocol.TCP)]


def test_a_backend_is_there_while_any_view_has_it():
    datapath = started()
    consumer = replace(DNS, consumer="shop")
    removals(datapath, DNS, plan(1, 2))
    removals(datapath, consumer, plan(2, 3))
    assert removals(datapath, DNS, plan(1)) == [left(Protocol.UDP, 1, 2, 3)]
    assert removals(datapath, consumer, None) == [left(Protocol.UDP, 1)]


def test_a_new_agent_looks_after_everything_that_it_finds():
    """It cannot know what was lost while there was none."""
    kernel = FakeKernel()
    first = started(kernel)
    removals(first, DNS, plan(1, 2))
    removals(first, TCP, plan(1, 2))
    assert removals(started(kernel), DNS, plan(2)) == [left(Protocol.UDP, 2)]
    assert started(kernel).apply(WaypointState({})).backends_removed == [left(Protocol.UDP)]


def test_nothing_is_told_before_the_kernel_knows():
    kernel = FakeKernel()
    datapath = started(kernel)
    removals(datapath, DNS, plan(1, 2))
    crowd = plan(*range(2, 250))
    many = replace(crowd, slots=crowd.slots * 2)
    assert removals(datapath, DNS, many) == []
    assert datapath.failures.keys() == {str(DNS)}
    assert removals(datapath, DNS, plan(2)) == [left(Protocol.UDP, 2)]
