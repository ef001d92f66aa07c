"""The cache: one encoding for all Envoys, but for listeners, which are at each one's own address."""

from typing import Any

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint import snapshot_cache as module
from agent.waypoint.snapshot_cache import SnapshotCache

LISTENER, CLUSTER = ResourceName(ResourceType.LISTENER, "l"), ResourceName(ResourceType.CLUSTER, "c")
RESOURCES = {LISTENER: {"name": "l"}, CLUSTER: {"name": "c"}}
BLUE, GREEN = Addresses("10.1.1.1"), Addresses("10.1.1.2")


def made() -> SnapshotCache:
    cache = SnapshotCache()
    assert cache.replace(RESOURCES, {"l": 20000})
    return cache


def test_listeners_differ_by_address_and_nothing_else_does():
    blue, green = made().versions(BLUE), made().versions(GREEN)
    assert blue.keys() == green.keys() == RESOURCES.keys()
    assert blue[LISTENER] != green[LISTENER]
    assert blue[CLUSTER] == green[CLUSTER]
    assert str(GREEN).encode() in made().get(LISTENER, GREEN).packed.value


def test_the_same_again_is_no_change():
    cache = made()
    assert not cache.replace(dict(RESOURCES), {"l": 20000, "other": 1})
    assert cache.replace(RESOURCES, {"l": 20001})
    assert cache.replace({CLUSTER: RESOURCES[CLUSTER]}, {})
    assert cache.versions(BLUE).keys() == {CLUSTER}
    assert cache.get(LISTENER, BLUE) is None


def test_what_cannot_be_encoded_is_named_until_it_is_mended_or_gone():
    cache = made()
    cache.replace({**RESOURCES, CLUSTER: {"name": "c", "nonsense": 1}}, {"l": 20000})
    assert cache.versions(BLUE).keys() == {LISTENER}
    assert "nonsense" in cache.unencodable[CLUSTER]
    cache.replace(RESOURCES, {"l": 20000})
    assert cache.unencodable == {}
    assert cache.versions(BLUE).keys() == RESOURCES.keys()


def test_a_listener_of_an_envoy_that_does_not_say_where_it_is_cannot_be_encoded():
    cache = made()
    assert cache.versions(Addresses()).keys() == {CLUSTER}
    assert "address" in cache.unencodable[LISTENER]


def test_an_address_can_be_forgotten():
    cache = made()
    before = cache.versions(GREEN)
    cache.forget(GREEN)
    assert cache.versions(GREEN) == before


def assigned(address: str) -> dict[str, Any]:
    """Endpoints with one address."""
    socket = {"address": {"socket_address": {"address": address, "port_value": 80}}}
    return {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": socket}]}]}


ENDPOINTS = ResourceName(ResourceType.ENDPOINT, "c")


class Bug:
    """An `encode` that fails for one resource while there is a bug, as no code expects."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: ResourceName) -> None:
        self.there = False
        real = module.encode

        def broken(resource: ResourceName, *rest: Any) -> Any:
            if self.there and resource == name:
                raise RecursionError("a bug")
            return real(resource, *rest)

        monkeypatch.setattr(module, "encode", broken)


def test_what_trips_a_bug_stays_as_it_was_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bug, errors = Bug(monkeypatch, ENDPOINTS), InternalErrors(strict=False)
    cache = SnapshotCache(errors)
    cache.replace({ENDPOINTS: assigned("10.1.0.1"), CLUSTER: {"name": "c"}}, {})
    before = cache.versions(BLUE)
    bug.there = True
    news = {ENDPOINTS: assigned("10.1.0.2"), CLUSTER: {"name": "c", "connect_timeout": "2s"}}
    assert cache.replace(news, {})
    after = cache.versions(BLUE)
    assert after[ENDPOINTS] == before[ENDPOINTS]
    assert after[CLUSTER] != before[CLUSTER]
    assert cache.shown([ENDPOINTS], BLUE) == {ENDPOINTS: "10.1.0.1!80"}
    assert [(item.part, item.subject) for item in errors.listed()] == [("encode", str(ENDPOINTS))]
    cache.versions(BLUE)
    assert errors.counts() == {"encode": 1}
    bug.there = False
    cache.replace(news | {ENDPOINTS: assigned("10.1.0.3")}, {})
    assert cache.shown([ENDPOINTS], BLUE) == {ENDPOINTS: "10.1.0.3!80"}
    assert errors.listed() == []


def test_what_trips_a_bug_from_the_start_is_not_there_and_is_forgotten_when_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug, errors = Bug(monkeypatch, CLUSTER), InternalErrors(strict=False)
    cache = SnapshotCache(errors)
    bug.there = True
    cache.replace(RESOURCES, {"l": 20000})
    assert cache.versions(BLUE).keys() == cache.versions(GREEN).keys() == {LISTENER}
    assert len(errors.listed()) == 1
    cache.replace({LISTENER: RESOURCES[LISTENER]}, {"l": 20000})
    assert errors.listed() == []


def test_what_cannot_be_encoded_any_more_stays_as_it_was_and_goes_when_it_is_not_wanted():
    cache = made()
    before = cache.versions(BLUE)
    for nonsense in (1, 2):
        cache.replace({**RESOURCES, CLUSTER: {"name": "c", "nonsense": nonsense}}, {"l": 20000})
        assert cache.versions(BLUE) == before
        assert "nonsense" in cache.unencodable[CLUSTER]
    cache.replace({LISTENER: RESOURCES[LISTENER]}, {"l": 20000})
    assert cache.versions(BLUE).keys() == {LISTENER}
    cache.replace({**RESOURCES, CLUSTER: {"name": "c", "nonsense": 1}}, {"l": 20000})
    assert cache.versions(BLUE).keys() == {LISTENER}


def test_a_listener_that_cannot_be_encoded_does_not_stay_at_a_port_that_is_not_its_own_now():
    cache = made()
    cache.versions(BLUE)
    cache.replace({**RESOURCES, LISTENER: {"name": "l", "nonsense": 1}}, {"l": 20000})
    assert LISTENER in cache.versions(BLUE)
    cache.replace({**RESOURCES, LISTENER: {"name": "l", "nonsense": 1}}, {"l": 20001})
    assert LISTENER not in cache.versions(BLUE)


def test_tests_are_stopped_by_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    bug, cache = Bug(monkeypatch, CLUSTER), made()
    bug.there = True
    with pytest.raises(RecursionError):
        cache.versions(BLUE)
