"""Namespaces share the kernel's tables: none can take what others need, also not for a moment."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.datapath.datapath import Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.addresses import Addresses
from agent.ir.identity import Workload, name_id
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import (
    ALL_NAMESPACES,
    Action,
    Config,
    FrontendAction,
    Mode,
    PodFlag,
    Protocol,
    Slot,
    address_bytes,
)
from agent.ir.waypoint_state import WaypointState
from agent.kernel.abi import FRONTENDS, SLOTS
from agent.model.meta import Key
from support.fakes.frontends import LISTENER, PORTS, READY, Clock, slots
from support.fakes.kernel import FakeKernel

NO_WAYPOINT = WaypointState({})
VICTIM = FrontendName("10.96.9.9", 80, Protocol.TCP)


def array(length: int) -> tuple[Slot, ...]:
    return tuple(
        Slot(address_bytes(f"10.{1 + at // 65536}.{at // 256 % 256}.{at % 256}"), 8080, False, at, 2**32)
        for at in range(length)
    )


def plan(namespace: str, array: tuple[Slot, ...]) -> FrontendPlan:
    return FrontendPlan(Key("Service", namespace, "web"), Mode.L4, array)


def of(namespace: str, number: int, length: int, first: int = 0, consumer: str = "") -> dict:
    """Frontends of one namespace's Services with as many slots each, from a first address on."""
    rows = array(length)
    names = (
        FrontendName(f"10.96.{at // 250}.{at % 250}", 80, Protocol.TCP, consumer) for at in range(first, first + number)
    )
    return {name: plan(namespace, rows) for name in names}


def started(kernel: FakeKernel, clock: Clock) -> Datapath:
    made = Datapath(kernel, Config(), clock)
    made.adopt()
    return made


def want(datapath: Datapath, upserts: dict, gone: tuple = ()) -> None:
    datapath.want_frontends(upserts, gone)
    datapath.apply(NO_WAYPOINT)


def reached(kernel: FakeKernel, name: FrontendName) -> set[bytes] | None:
    found = kernel.reach(frontend_key(name), Mode.L4)
    return {address for address, _, _ in found[2]} if found else None


def addresses(array: tuple[Slot, ...]) -> set[bytes]:
    return {slot.address for slot in array}


def has_all(datapath: Datapath, kernel: FakeKernel) -> bool:
    return not datapath.failures and all(
        reached(kernel, name) == addresses(plan.slots) for name, plan in datapath.desired.items()
    )


def used(datapath: Datapath, resource: str) -> dict[str, int]:
    return next(budget.used for budget in datapath.budgets if budget.resource == resource)


def test_a_namespace_with_more_endpoints_than_slots_keeps_no_change_of_others_out(clock: Clock):
    """Three slices of 90 ports and 1000 endpoints each, and a Service of 160 ports for the rest of the table."""
    kernel = FakeKernel(frontends=FRONTENDS, slots=SLOTS)
    datapath = started(kernel, clock)
    want(datapath, {VICTIM: plan("victim", slots(1, 2))})
    want(datapath, of("evil", 270, 1000))
    want(datapath, of("evil", 160, 1, first=300))
    clock.now += 2
    want(datapath, {VICTIM: plan("victim", slots(1))})
    assert reached(kernel, VICTIM) == addresses(slots(1)), "the backend that left is not dialled any more"
    want(datapath, {VICTIM: plan("victim", slots(1, 2, 3))})
    assert reached(kernel, VICTIM) == addresses(slots(1, 2, 3)), "and there is room to grow"
    assert used(datapath, "slots")["evil"] == (SLOTS - 2) // 2
    assert not [name for name in datapath.failures if name == str(VICTIM)]


def test_a_namespace_with_more_ports_than_frontends_keeps_no_frontend_of_others_out(clock: Clock):
    kernel = FakeKernel(frontends=64, slots=1024)
    datapath = started(kernel, clock)
    want(datapath, of("evil", 100, 1))
    want(datapath, {VICTIM: plan("victim", slots(1))})
    assert reached(kernel, VICTIM) == addresses(slots(1))
    assert (used(datapath, "frontends"), len(datapath.failures)) == ({"evil": 32, "victim": 1}, 68)
    assert set(datapath.failures.values()) == {
        "budget of frontends: namespace evil has 32, wants 1 more, and may have 32: no more than it leaves free"
    }


def test_a_consumers_frontend_is_charged_to_its_routes_namespace(clock: Clock):
    datapath = started(FakeKernel(frontends=64, slots=64), clock)
    want(datapath, of("victim", 2, 3) | of("victim", 40, 2, consumer="evil"))
    assert used(datapath, "slots") == {"victim": 6, "evil": 32}
    assert {name.rpartition("@")[2] for name in datapath.failures} == {"evil"}


def test_a_namespace_above_its_limit_can_still_replace_what_it_has(clock: Clock):
    """Others grew since; it may not grow, and what it has it keeps."""
    kernel = FakeKernel(frontends=64, slots=64)
    datapath = started(kernel, clock)
    want(datapath, of("first", 8, 4))
    want(datapath, of("second", 4, 4, first=100))
    moved = {name: plan("first", slots(5, 6, 7, 8)) for name in of("first", 8, 4)}
    for _ in range(8):
        clock.now += 1
        want(datapath, moved)
    assert has_all(datapath, kernel)
    one = next(iter(moved))
    want(datapath, {one: plan("first", slots(1, 2, 3, 4, 5))})
    assert datapath.failures == {
        str(one): "budget of slots: namespace first has 32, wants 1 more, and may have 24: no more than it leaves free"
    }
    want(datapath, {one: plan("first", slots(1, 2, 3))})
    clock.now += 2
    datapath.apply(NO_WAYPOINT)
    assert has_all(datapath, kernel)


def test_what_was_refused_is_installed_when_its_namespace_or_another_gives_back(clock: Clock):
    kernel = FakeKernel(frontends=64, slots=64)
    datapath = started(kernel, clock)
    first, second = of("first", 8, 4), of("second", 8, 4, first=100)
    want(datapath, first | second)
    assert len(datapath.failures) > 1
    want(datapath, {}, tuple(first))
    clock.now = datapath.retry_at
    datapath.apply(NO_WAYPOINT)
    assert has_all(datapath, kernel)


def test_a_restart_charges_what_is_installed_to_its_owners(clock: Clock):
    """Before the new agent installs anything: else names that sort first would take what others hold."""
    kernel = FakeKernel(frontends=64, slots=64)
    before = started(kernel, clock)
    held = of("evil", 7, 4, first=50) | {VICTIM: plan("victim", slots(1, 2))}
    want(before, held)
    clock.now += 2
    again = Datapath(kernel, Config(), clock)
    inherited = again.inherit()
    again.take_over(inherited, of("evil", 8, 4) | held, {}, ())
    clock.now += 2
    again.apply(NO_WAYPOINT)
    assert used(again, "slots") == {"evil": 28, "victim": 2} == used(before, "slots")
    assert len(again.failures) == 8


def test_a_frontend_at_the_waypoint_has_room_for_its_slots_when_it_leaves(clock: Clock):
    """Meanwhile its namespace and another one take what they can, and the agent is started anew."""
    kernel = FakeKernel(frontends=64, slots=64)
    before = started(kernel, clock)
    routed = replace(plan("shop", slots(1, 2, 3, 4)), listener=LISTENER, mode=Mode.L7)
    before.want_frontends({VICTIM: routed}, ())
    before.apply(WaypointState(PORTS, READY))
    assert kernel.reach(frontend_key(VICTIM), Mode.L4)[0] == FrontendAction(Action.WAYPOINT)
    clock.now += 2
    again = Datapath(kernel, Config(), clock)
    again.take_over(again.inherit(), {VICTIM: routed}, {}, ())
    clock.now += 2
    again.want_frontends(of("shop", 40, 1) | of("evil", 40, 1, first=100), ())
    again.apply(WaypointState(PORTS, READY))
    assert again.refused["slots", "shop"] > 0
    want(again, {VICTIM: plan("shop", slots(1, 2, 3, 4))})
    assert reached(kernel, VICTIM) == addresses(slots(1, 2, 3, 4))


def test_a_frontend_that_became_anothers_is_charged_to_the_new_owner(clock: Clock):
    kernel = FakeKernel(frontends=64, slots=64)
    datapath = started(kernel, clock)
    want(datapath, {VICTIM: plan("victim", slots(1, 2))})
    want(datapath, {VICTIM: plan("other", slots(1, 2))})
    assert used(datapath, "slots") == {"other": 2}
    want(datapath, {}, (VICTIM,))
    assert used(datapath, "slots") == used(datapath, "frontends") == {}


def test_a_frontend_that_does_not_fit_sends_nobody_to_the_service_that_had_its_address(clock: Clock):
    kernel = FakeKernel(frontends=64, slots=64)
    datapath = started(kernel, clock)
    want(datapath, {VICTIM: plan("victim", slots(1, 2))})
    want(datapath, {VICTIM: plan("other", array(40))})
    assert (reached(kernel, VICTIM), datapath.failures.keys()) == (None, {str(VICTIM)})
    assert used(datapath, "slots") == used(datapath, "frontends") == {}


def test_a_namespace_that_replaces_all_it_has_all_the_time_delays_nobody(clock: Clock):
    """What was replaced rests for a second and nobody can have it. Its addresses sort first."""
    kernel = FakeKernel(frontends=64, slots=64)
    datapath = started(kernel, clock)
    want(datapath, of("evil", 8, 4))
    want(datapath, {VICTIM: plan("victim", slots(1, 2, 3))})
    for turn in range(100):
        clock.now += 0.2
        rows = slots(*range(turn % 2 + 1, turn % 2 + 5))
        changed = {name: plan("evil", rows) for name in of("evil", 8, 4)}
        if turn % 5 == 0:
            changed[VICTIM] = plan("victim", slots(*range(turn % 3 + 1, turn % 3 + 4)))
        want(datapath, changed)
        assert reached(kernel, VICTIM) == addresses(datapath.desired[VICTIM].slots), turn


def test_ten_thousand_services_of_two_namespaces_fit(clock: Clock):
    """Each with ten endpoints, at the capacities of the kernel's tables."""
    kernel = FakeKernel(frontends=FRONTENDS, slots=SLOTS)
    datapath = started(kernel, clock)
    want(datapath, of("one", 5000, 10) | of("two", 5000, 10, first=5000))
    assert (datapath.pending, datapath.failures) == (0, {})
    assert used(datapath, "slots") == {"one": 50_000, "two": 50_000}


def test_the_waypoints_connections_are_a_budget_by_namespace_of_the_clients(clock: Clock):
    kernel = FakeKernel()
    datapath = started(kernel, clock)
    workload = Workload("Deployment", "here", "shop", "web")
    pod = PodPlan(Key("Pod", "shop", "web"), "shop", Mode.L4, PodFlag.NONE, (), workload)
    datapath.want_pods({7: pod})
    datapath.apply(WaypointState(connections=100))
    assert kernel.config.waypoint_connections == 100
    kernel.open_connections = {name_id("shop"): 40, name_id("gone"): 2, ALL_NAMESPACES: 42}
    budget = datapath.connections
    assert (budget.resource, budget.capacity, budget.used) == ("connections", 100, {"shop": 40, "": 2})
    assert budget.limit("shop") == 49


def test_the_waypoints_room_for_connections_stays_while_it_is_not_known(clock: Clock):
    """A new agent does not know it until the Envoy is connected."""
    kernel = FakeKernel()
    active = Addresses("10.1.1.1")
    started(kernel, clock).apply(WaypointState(active=active, connections=100))
    again = Datapath(kernel, Config(), clock)
    again.take_over(again.inherit(), {}, {}, ())
    again.apply(WaypointState(active=active))
    assert kernel.config.waypoint_connections == 100
    again.apply(WaypointState(active=active, connections=50))
    assert kernel.config.waypoint_connections == 50


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 11), st.integers(0, 12), st.sampled_from([0.0, 0.3, 1.0])),
    max_size=40,
)


@given(STEPS)
def test_after_any_history_the_charges_are_what_is_installed_and_a_newcomer_fits(steps):
    """Each step: a namespace wants another number of slots for a frontend, 0: none of it; then some time passes.

    Namespaces take frontends from each other, as when a Service is deleted and its address is another's.
    """
    kernel, clock = FakeKernel(frontends=16, slots=64), Clock()
    datapath = started(kernel, clock)
    for namespace, number, length, pause in steps:
        name = FrontendName(f"10.96.0.{number}", 80, Protocol.TCP)
        want(datapath, {name: plan(namespace, array(length))} if length else {}, () if length else (name,))
        clock.now += pause
        for budget in datapath.budgets:
            assert budget.total == sum(budget.used.values()) == datapath.fill[budget.resource][0]
    clock.now += 1
    for _ in range(3):
        datapath.apply(NO_WAYPOINT)
        clock.now = datapath.retry_at or clock.now
    again = Datapath(kernel, Config(), clock)
    again.take_over(again.inherit(), datapath.desired, {}, ())
    assert [dict(budget.used) for budget in again.budgets] == [dict(budget.used) for budget in datapath.budgets]
    clock.now += 1
    free = min(budget.capacity - budget.total for budget in again.budgets)
    want(again, {VICTIM: plan("newcomer", array(1))})
    assert free < 2 or reached(kernel, VICTIM) == addresses(array(1))
