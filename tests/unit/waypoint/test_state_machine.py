"""The waypoint's state machine where a drawn history hardly comes: events between two reports."""

from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.waypoint_state import Adopted, WaypointState
from agent.waypoint.readiness import Phase
from agent.waypoint.state_machine import WaypointStateMachine

BLUE, GREEN = Envoy(1, "blue", Addresses("10.1.1.1")), Envoy(2, "green", Addresses("10.1.1.2"))
STAYS, GOES = "app/a:80", "app/b:80"


def ipv4(*listeners_or_ports: str | int) -> frozenset[tuple[str | int, Family]]:
    return frozenset((item, Family.IPV4) for item in listeners_or_ports)


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
    step(machine, {BLUE: (STAYS, GOES)}, STAYS, GOES)
    assert machine.ready == ipv4(STAYS, GOES)
    return machine


def test_no_standby_is_promoted_without_what_clients_may_be_sent_to_by_a_state_not_yet_reported():
    machine = serving()
    given = machine.effects.state
    step(machine, {BLUE: (STAYS,)}, STAYS)
    step(machine, {BLUE: (STAYS,), GREEN: (STAYS,)}, STAYS, GOES)
    assert (machine.effects.state.active, machine.ready) == (BLUE.addresses, ipv4(STAYS))
    machine.send_to(ipv4(*given.ports.values()), given)
    step(machine, {BLUE: (STAYS,), GREEN: (STAYS,)}, STAYS, GOES)
    assert machine.effects.state.active == BLUE.addresses
    machine.send_to(ipv4(given.ports[STAYS]), machine.effects.state)
    machine.advance()
    assert machine.effects.state.active == GREEN.addresses


def test_the_room_for_connections_is_the_least_of_the_envoys_that_are_connected():
    machine = WaypointStateMachine(Adopted(), 0)
    assert machine.advance().state.connections == 0
    limits = (0, 900, 400)
    envoys = [Envoy(limit, f"e{limit}", Addresses("10.1.1.1"), max_connections=limit) for limit in limits]
    machine.connect(dict.fromkeys(envoys, frozenset()), 0)
    assert machine.advance().state.connections == 400
    machine.connect({envoys[1]: frozenset()}, 0)
    assert machine.advance().state.connections == 900


def test_policies_hold_for_what_a_process_that_started_again_has_not_proved():
    machine = serving()
    machine.send_to(ipv4(*machine.ports.values()), machine.effects.state)
    again = Envoy(3, "blue", BLUE.addresses)
    step(machine, {again: (STAYS,)}, STAYS, GOES)
    state = machine.effects.state
    assert (state.active, state.ready, state.unavailable, state.lost) == (
        again.addresses,
        ipv4(STAYS),
        ipv4(GOES),
        False,
    )
    step(machine, {again: (STAYS, GOES)}, STAYS, GOES)
    assert (machine.ready, machine.effects.state.unavailable) == (ipv4(STAYS, GOES), frozenset())


def test_a_probe_that_is_not_wanted_any_more_proves_nothing():
    machine = WaypointStateMachine(Adopted(), 0)
    machine.assign([STAYS], 0)
    machine.want(needs(STAYS), 0)
    machine.connect({BLUE: frozenset({ResourceName(ResourceType.LISTENER, STAYS)})}, 0)
    (probe,) = machine.advance().probes
    machine.want({}, 0)
    machine.advance()
    assert not machine.answer(probe, True)
    machine.assign([STAYS], 0)
    machine.want(needs(STAYS), 0)
    assert machine.advance().state.ready == frozenset()


DUAL, NEWER = (Envoy(at, f"dual{at}", Addresses(f"10.1.1.{at}", f"fd00::{at}")) for at in (3, 4))
BOTH = frozenset((STAYS, family) for family in Family)


def answered(machine: WaypointStateMachine, envoys: list[Envoy], *silent: str) -> WaypointState:
    """One pass with these Envoys, which serve one listener; every probe is accepted but at silent addresses."""
    machine.assign([STAYS], 0)
    machine.want(needs(STAYS), 0)
    machine.connect(dict.fromkeys(envoys, frozenset().union(*needs(STAYS).values())), 0)
    for probe in machine.advance().probes:
        machine.answer(probe, probe.address not in silent)
    return machine.advance().state


def sent(machine: WaypointStateMachine) -> frozenset[tuple[int, Family]]:
    """The kernel sends clients wherever the listener is ready."""
    state = machine.effects.state
    ports = frozenset((state.ports[listener], family) for listener, family in state.ready)
    machine.send_to(ports, state)
    return ports


def test_a_listener_is_tried_at_each_address():
    machine = WaypointStateMachine(Adopted(), 0)
    state = answered(machine, [DUAL])
    assert (state.active, state.ready, state.unavailable) == (DUAL.addresses, BOTH, frozenset())
    assert (machine.phases(), machine.effects.probes) == ({STAYS: Phase.READY}, frozenset())


def test_a_family_that_does_not_work_keeps_nobody_of_the_other_from_the_waypoint():
    machine = WaypointStateMachine(Adopted(), 0)
    state = answered(machine, [DUAL], "fd00::3")
    assert (state.ready, state.unavailable) == (ipv4(STAYS), frozenset())
    assert {probe.address for probe in machine.effects.probes} == {"fd00::3"}
    assert machine.phases() == {STAYS: Phase.PROBING}
    assert answered(machine, [DUAL]).ready == BOTH


def test_a_standby_is_promoted_when_it_serves_each_family_that_clients_are_sent_to():
    machine = WaypointStateMachine(Adopted(), 0)
    answered(machine, [DUAL])
    sent(machine)
    assert answered(machine, [DUAL, NEWER], "fd00::4").active == DUAL.addresses
    state = answered(machine, [DUAL, NEWER])
    assert (state.active, state.ready, set(state.others)) == (NEWER.addresses, BOTH, set(DUAL.addresses))


def test_a_standby_of_one_family_is_promoted_with_what_it_can_serve():
    machine = WaypointStateMachine(Adopted(), 0)
    answered(machine, [DUAL])
    sent(machine)
    newer = Envoy(9, "ipv6 only", Addresses(ipv6="fd00::9"))
    assert answered(machine, [DUAL, newer], "fd00::9").active == DUAL.addresses
    state = answered(machine, [DUAL, newer])
    assert (state.active, state.ready) == (newer.addresses, {(STAYS, Family.IPV6)})
    assert state.is_unavailable(STAYS, "10.96.0.1")
    assert not state.is_unavailable(STAYS, "fd00:96::1")


def test_the_active_envoy_is_lost_when_neither_address_answers():
    machine = WaypointStateMachine(Adopted(), 0)
    answered(machine, [DUAL])
    sent(machine)
    assert not answered(machine, [], "fd00::3").lost
    assert {probe.address for probe in machine.effects.probes} == set(DUAL.addresses)
    state = answered(machine, [], *DUAL.addresses)
    assert (state.lost, state.unavailable) == (True, BOTH)


def test_an_agent_that_takes_over_from_one_of_a_single_family_tries_the_other():
    machine = WaypointStateMachine(Adopted(), 0)
    answered(machine, [DUAL], "fd00::3")
    ports = sent(machine)
    adopted = Adopted(Addresses("10.1.1.3"), (), dict(machine.ports), sent_to=ports)
    state = answered(WaypointStateMachine(adopted, 0), [DUAL])
    assert (state.active, state.ready, state.lost) == (DUAL.addresses, BOTH, False)
