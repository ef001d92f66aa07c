"""Addresses in slices that are no endpoints, and how far a waypoint that comes or goes reaches."""

import pytest

from agent.ir.tables import address_text
from agent.model.change import Delete, Upsert
from agent.model.facts import NodeWaypoints
from agent.model.meta import Key
from agent.translate.addresses import unroutable
from agent.translate.incremental import Translator, Unit
from support.translate import endpoint, service, slice_of, translator

WAYPOINT = "10.1.0.2"


def backends(made: Translator, name: str) -> set[str]:
    (plan,) = made.outputs[Unit("service", Key("Service", "app", name))].frontends.values()
    return {address_text(slot.address) for slot in plan.slots}


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.1", "243.0.0.1", "fd00::1", "2001:db8::1", "::ffff:10.0.0.1"])
def test_ordinary_addresses_can_be_anybody_s(address: str) -> None:
    assert unroutable(address) == ""


def test_a_waypoint_that_comes_or_goes_touches_only_services_with_its_address() -> None:
    made = translator(service("other", "10.96.0.9"), slice_of("other", endpoint("10.1.0.7")))
    assert WAYPOINT in backends(made, "web")
    changed = made.update([Upsert(NodeWaypoints((WAYPOINT, "10.1.0.99")))])
    assert {unit.key.name for unit in changed} == {"web"}
    assert backends(made, "web") == {"10.1.0.1"}
    assert made.update([Upsert(NodeWaypoints((WAYPOINT,)))]) == {}
    assert {unit.key.name for unit in made.update([Delete(NodeWaypoints().key)])} == {"web"}
    assert backends(made, "web") == {"10.1.0.1", WAYPOINT}


def test_a_slice_that_comes_after_the_waypoint_is_judged_too() -> None:
    made = translator()
    made.update([Upsert(NodeWaypoints(("10.1.0.50",)))])
    made.update([Upsert(slice_of("web", endpoint("10.1.0.50"), endpoint("10.1.0.51")))])
    assert backends(made, "web") == {"10.1.0.51"}
    made.update([Upsert(NodeWaypoints(("10.1.0.51",)))])
    assert backends(made, "web") == {"10.1.0.50"}
