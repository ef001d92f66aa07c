"""The catalogue: one encoding for all Envoys, but for listeners, which are at each one's own address."""

from agent.plan.plan import ResourceName, Xds
from agent.waypoint.catalogue import Catalogue

LISTENER, CLUSTER = ResourceName(Xds.LISTENER, "l"), ResourceName(Xds.CLUSTER, "c")
RESOURCES = {LISTENER: {"name": "l"}, CLUSTER: {"name": "c"}}
BLUE, GREEN = "10.1.1.1", "10.1.1.2"


def made() -> Catalogue:
    catalogue = Catalogue()
    assert catalogue.replace(RESOURCES, {"l": 20000})
    return catalogue


def test_listeners_differ_by_address_and_nothing_else_does():
    blue, green = made().versions(BLUE), made().versions(GREEN)
    assert blue.keys() == green.keys() == RESOURCES.keys()
    assert blue[LISTENER] != green[LISTENER]
    assert blue[CLUSTER] == green[CLUSTER]
    assert GREEN.encode() in made().get(LISTENER, GREEN).packed.value


def test_the_same_again_is_no_change():
    catalogue = made()
    assert not catalogue.replace(dict(RESOURCES), {"l": 20000, "other": 1})
    assert catalogue.replace(RESOURCES, {"l": 20001})
    assert catalogue.replace({CLUSTER: RESOURCES[CLUSTER]}, {})
    assert catalogue.versions(BLUE).keys() == {CLUSTER}
    assert catalogue.get(LISTENER, BLUE) is None


def test_what_cannot_be_encoded_is_named_until_it_is_mended_or_gone():
    catalogue = made()
    catalogue.replace({**RESOURCES, CLUSTER: {"name": "c", "nonsense": 1}}, {"l": 20000})
    assert catalogue.versions(BLUE).keys() == {LISTENER}
    assert "nonsense" in catalogue.unencodable[CLUSTER]
    catalogue.replace(RESOURCES, {"l": 20000})
    assert catalogue.unencodable == {}
    assert catalogue.versions(BLUE).keys() == RESOURCES.keys()


def test_a_listener_of_an_envoy_that_does_not_say_where_it_is_cannot_be_encoded():
    catalogue = made()
    assert catalogue.versions("").keys() == {CLUSTER}
    assert "address" in catalogue.unencodable[LISTENER]


def test_an_address_can_be_forgotten():
    catalogue = made()
    before = catalogue.versions(GREEN)
    catalogue.forget(GREEN)
    assert catalogue.versions(GREEN) == before
