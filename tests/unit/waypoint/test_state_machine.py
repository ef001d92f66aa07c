"""The waypoint's state machine where a drawn history hardly comes: events between two reports."""

from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.waypoint_state import Adopted
from agent.waypoint.state_machine import WaypointStateMachine

BLUE, GREEN = Envoy(1, "blue", "10.1.1.1"), Envoy(2, "green", "10.1.1.2")
KEPT, LEFT = "app/a:80", "app/b:80"


def needs(*listeners: str) -> dict[str, frozenset[ResourceName]]:
    return {name: frozenset({ResourceName(ResourceType.LISTENER, name)}) for name in listeners}


def step(machine: WaypointStateMachine, envoys: dict[Envoy, tuple[str, ...]], *wanted: str) -> None:
    """One pass with these Envoys, each with what it acknowledged; every probe is accepted, and what follows is seen."""
    acknowledged = {envoy: frozenset().union(*needs(*names).values()) for envoy, names in envoys.items()}
    machine.assign(wanted, 0)
    machine.want(needs(*wanted), 0)
    machine.connect(acknowledged, 0)
    for probe in machine.advance().probes:
        machine.answer(probe, True)
    machine.advance()


def serving() -> WaypointStateMachine:
    """BLUE is active, and both listeners are ready there; the kernel has not said yet whom it sends there."""
    machine = WaypointStateMachine(Adopted(), 0)
    step(machine, {BLUE: (KEPT, LEFT)}, KEPT, LEFT)
    assert machine.ready == {KEPT, LEFT}
    return machine


def test_no_standby_is_promoted_without_what_clients_may_be_sent_to_by_a_state_not_yet_reported():
    machine = serving()
    given = machine.effects.state
    step(machine, {BLUE: (KEPT,)}, KEPT)
    step(machine, {BLUE: (KEPT,), GREEN: (KEPT,)}, KEPT, LEFT)
    assert (machine.effects.state.active, machine.ready) == (BLUE.address, {KEPT})
    machine.send_to(given.ports.values(), given)
    step(machine, {BLUE: (KEPT,), GREEN: (KEPT,)}, KEPT, LEFT)
    assert machine.effects.state.active == BLUE.address
    machine.send_to([given.ports[KEPT]], machine.effects.state)
    machine.advance()
    assert machine.effects.state.active == GREEN.address


def test_policies_hold_for_what_a_process_that_started_again_has_not_proved():
    machine = serving()
    machine.send_to(machine.ports.values(), machine.effects.state)
    again = Envoy(3, "blue", BLUE.address)
    step(machine, {again: (KEPT,)}, KEPT, LEFT)
    state = machine.effects.state
    assert (state.active, state.ready, state.unavailable, state.lost) == (again.address, {KEPT}, {LEFT}, False)
    step(machine, {again: (KEPT, LEFT)}, KEPT, LEFT)
    assert (machine.ready, machine.effects.state.unavailable) == ({KEPT, LEFT}, frozenset())


def test_a_probe_that_is_not_wanted_any_more_proves_nothing():
    machine = WaypointStateMachine(Adopted(), 0)
    machine.assign([KEPT], 0)
    machine.want(needs(KEPT), 0)
    machine.connect({BLUE: frozenset({ResourceName(ResourceType.LISTENER, KEPT)})}, 0)
    (probe,) = machine.advance().probes
    machine.want({}, 0)
    machine.advance()
    assert not machine.answer(probe, True)
    machine.assign([KEPT], 0)
    machine.want(needs(KEPT), 0)
    assert machine.advance().state.ready == frozenset()
