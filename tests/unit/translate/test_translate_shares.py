"""What the objects of one namespace cost others: nothing of theirs is computed again, and none waits for long units."""

from collections import Counter

import pytest

from agent.model.change import Change, Delete, Upsert
from agent.model.core import Service, ServicePort, ServiceSpec
from agent.model.discovery import EndpointPort, EndpointSlice
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import FilteredBackendRef, HTTPRoute, HTTPRouteRule, HTTPRouteSpec, ParentReference
from agent.store.store import Store
from agent.translate import incremental
from agent.translate.incremental import SERVICES, Translator, Unit
from agent.translate.options import Options
from agent.translate.routes import binding
from support.translate import endpoint, http_route, mesh, service, slice_of, translator

WEB = Key("Service", "app", "web")
EVIL = [f"evil{number}" for number in range(20)]
PORTS, ENDPOINTS = 90, 300


def consumer_route(namespace: str, backend: str = "web") -> HTTPRoute:
    """A Route of another namespace for Service app/web."""
    rule = HTTPRouteRule(backend_refs=(FilteredBackendRef(backend, namespace="app", port=80),))
    parents = (ParentReference("web", "", "Service", "app"),)
    return HTTPRoute(ObjectMeta("r", namespace, generation=1), HTTPRouteSpec(parents, rules=(rule,)))


def large() -> list[Change]:
    """A Service of namespace evil with many ports, and many endpoints on each."""
    ports = tuple(ServicePort(number, f"p{number}") for number in range(1, PORTS + 1))
    meta = ObjectMeta("large", "evil")
    labels = {"kubernetes.io/service-name": "large"}
    endpoints = tuple(endpoint(f"10.9.{n // 250}.{n % 250 + 1}") for n in range(ENDPOINTS))
    targets = tuple(EndpointPort(f"p{number}", 1000 + number) for number in range(1, PORTS + 1))
    return [
        Upsert(Service(meta, ServiceSpec(cluster_ips=("10.96.9.9",), ports=ports))),
        Upsert(EndpointSlice(ObjectMeta("large-1", "evil", labels=labels), "IPv4", endpoints, targets)),
    ]


def test_a_namespace_s_routes_for_a_service_of_another_are_units_of_their_own() -> None:
    made = translator(*map(consumer_route, EVIL))
    units = {Unit(SERVICES, WEB, namespace) for namespace in EVIL}
    assert units <= made.outputs.keys()
    assert all({name.consumer for name in made.outputs[unit].frontends} == {unit.consumer} for unit in units)
    assert {name.consumer for name in made.outputs[Unit(SERVICES, WEB)].frontends} == {""}


def test_a_route_of_one_consumer_has_nothing_of_others_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = translator(http_route(), *map(consumer_route, EVIL))
    computed: list[Key | str] = []
    for name in ("translate_service", "translate_consumer"):
        real = getattr(incremental, name)
        monkeypatch.setattr(incremental, name, lambda *args, real=real: computed.append(args[-2]) or real(*args))
    made.update([Upsert(consumer_route("evil3", "gone"))])
    assert computed == ["evil3"]
    computed.clear()
    made.update([Upsert(http_route(backend="gone"))])
    assert computed == [WEB]


def test_what_a_consumer_had_goes_with_its_route() -> None:
    made = translator(consumer_route("evil1"), consumer_route("evil2"))
    found = made.update([Upsert(http_route()), Delete(consumer_route("evil1").key)])
    assert Unit(SERVICES, WEB, "evil1") in found
    assert Unit(SERVICES, WEB, "evil1") not in made.outputs
    assert Unit(SERVICES, WEB, "evil2") in made.outputs
    assert made.update([Upsert(service("web", "10.96.0.7"))]).keys() >= {Unit(SERVICES, WEB, "evil2")}


def test_a_consumer_s_route_may_come_before_the_service() -> None:
    made = Translator(Store(), Options("here"))
    made.update([Upsert(consumer_route("evil1"))])
    made.update(mesh())
    assert made.outputs[Unit(SERVICES, WEB, "evil1")].frontends


def test_a_route_is_checked_once_for_each_version_however_often_its_service_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: Counter[Key] = Counter()
    real = binding.check
    monkeypatch.setattr(binding, "check", lambda route: checked.update([route.key]) or real(route))
    route = consumer_route("evil1")
    made = translator(route)
    for number in range(1, 20):
        made.update([Upsert(slice_of("web", endpoint(f"10.1.1.{number}")))])
        made.update([Upsert(service("web", f"10.96.1.{number}"))])
    assert checked == {route.key: 1}
    made.update([Upsert(consumer_route("evil1", "gone"))])
    assert checked == {route.key: 2}


def test_a_small_unit_does_not_wait_for_the_whole_of_a_large_one() -> None:
    """Both namespaces have one unit to compute: that with a port is done after a step or two of that with 90."""
    made = translator()
    made.take([*large(), Upsert(slice_of("web", endpoint("10.1.0.77")))])
    made.enrol()
    steps = 0
    while Unit(SERVICES, WEB) not in made.advance():
        steps += 1
    assert steps <= 6
    assert Unit(SERVICES, Key("Service", "evil", "large")) not in made.outputs
    while made.has_pending:
        made.advance()
    assert len(made.outputs[Unit(SERVICES, Key("Service", "evil", "large"))].frontends) == PORTS


def test_a_unit_is_computed_again_when_something_changed_meanwhile_that_it_had_read() -> None:
    made = translator()
    unit = Unit(SERVICES, Key("Service", "evil", "large"))
    made.take(large())
    made.enrol()
    for _ in range(PORTS // 2):
        assert made.advance() == {}
    before, after = large(), large()[1]
    moved = EndpointSlice(after.value.metadata, "IPv4", (endpoint("10.9.9.9"),), after.value.ports)
    made.take([Upsert(moved)])
    while made.has_pending:
        made.advance()
    fresh = translator()
    fresh.update([before[0], Upsert(moved)])
    assert made.outputs[unit] == fresh.outputs[unit]


def test_a_large_service_whose_endpoints_change_all_the_time_is_not_left_behind() -> None:
    """As in a rollout: a slice changes before the unit has done its steps, each time."""
    made = translator()
    unit = Unit(SERVICES, Key("Service", "evil", "large"))
    made.update(large())
    item = large()[1].value
    found = 0
    for number in range(1, 21):
        changed = EndpointSlice(item.metadata, "IPv4", item.endpoints[number:], item.ports)
        made.take([Upsert(changed)])
        found += sum(unit in made.advance() for _ in range(PORTS // 2))
    assert found >= 5
    while made.has_pending:
        made.advance()
    assert {len(plan.slots) for plan in made.outputs[unit].frontends.values()} == {ENDPOINTS - 20}
