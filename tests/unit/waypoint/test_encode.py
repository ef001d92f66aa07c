"""Resources as bytes: each kind, stable versions, and errors that name what is wrong."""

import pytest
from envoy.config.listener.v3 import listener_pb2

from agent.ir.addresses import Addresses
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, TLSListenerIR, TLSRule, WeightedBackend
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.model.routes import HTTPRouteMatch
from agent.translate.filters.request_mirror import Mirror
from agent.translate.options import Options
from agent.waypoint import encode as encoding
from agent.waypoint.encode import EncodeError, encode
from agent.waypoint.xds.client_allow_list import client_allow_list
from agent.waypoint.xds.cluster import cluster, endpoints
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.passthrough import passthrough_listener
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.runtime import runtime

BACKEND = BackendPort("app", "a", 80)
SET = HTTPListenerIR("app/a:80", "shop", 80, False, ())
RESOURCES: dict[ResourceType, Json] = {
    ResourceType.CLUSTER: cluster(BACKEND),
    ResourceType.ENDPOINT: endpoints(BACKEND, [("10.1.0.7", 8080), ("fd00::7", 8080)]),
    ResourceType.EXTENSION: client_allow_list("client-allow-list@shop", ["10.1.0.1"], {}),
    ResourceType.LISTENER: listener("app/a:80", SET, Options()),
    ResourceType.ROUTE: route_configuration(SET, {}, {}),
    ResourceType.RUNTIME: runtime(["shop"]),
}


@pytest.mark.parametrize("kind", ResourceType)
def test_every_kind_is_packed_as_its_type(kind: ResourceType):
    found = encode(ResourceName(kind, "x"), RESOURCES[kind], Addresses("10.0.0.1"), 20000)
    assert found.packed.type_url == kind
    assert found.packed.value


def listening_at(addresses: Addresses) -> listener_pb2.Listener:
    found = listener_pb2.Listener()
    name = ResourceName(ResourceType.LISTENER, "x")
    encode(name, RESOURCES[ResourceType.LISTENER], addresses, 20000).packed.Unpack(found)
    return found


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
def test_a_listener_gets_its_address(address: str):
    found = listening_at(Addresses.of([address]))
    assert (found.address.socket_address.address, found.address.socket_address.port_value) == (address, 20000)
    assert not found.additional_addresses
    assert "address" not in RESOURCES[ResourceType.LISTENER]


def test_a_listener_listens_at_the_address_of_each_family():
    found = listening_at(Addresses("10.0.0.1", "fd00::1"))
    sockets = [found.address, *(item.address for item in found.additional_addresses)]
    assert [(item.socket_address.address, item.socket_address.port_value) for item in sockets] == [
        ("10.0.0.1", 20000),
        ("fd00::1", 20000),
    ]


def test_the_version_is_of_the_content():
    name = ResourceName(ResourceType.CLUSTER, "x")
    same = dict(reversed(list(RESOURCES[ResourceType.CLUSTER].items())))
    versions = [
        encode(name, item).version for item in (RESOURCES[ResourceType.CLUSTER], same, {**same, "name": "other"})
    ]
    assert versions[0] == versions[1] != versions[2]


def test_what_a_resource_leads_to():
    other, copy, nobody = (BackendPort("app", name, 80) for name in ("b", "c", "d"))
    shares = tuple(WeightedBackend(item, 1) for item in (BACKEND, other, None))
    rules = (
        Rule("split", HTTPRouteMatch(), (), shares),
        Rule("one", HTTPRouteMatch(), (), shares[:1], resolved=(Mirror(copy, 1),)),
    )
    table = route_configuration(HTTPListenerIR("app/a:80", "", 80, False, rules), {}, {})
    found = encode(ResourceName(ResourceType.ROUTE, "x"), table).cluster_refs
    assert found == {"app/a:80/http", "app/b:80/http", "app/c:80/http", "invalid"}
    tls = TLSListenerIR("app/a:80", "", (TLSRule("r", (), (WeightedBackend(nobody, 1),)), TLSRule("s", ("a",), ())))
    found = encode(
        ResourceName(ResourceType.LISTENER, "x"), passthrough_listener(tls, {}, Options()), Addresses("10.0.0.1"), 1
    ).cluster_refs
    assert found == {"app/d:80/http", "invalid"}


@pytest.mark.parametrize("wrong", [{"nope": 1}, {"name": 7}, {"connect_timeout": "soon"}])
def test_what_does_not_fit_is_named(wrong: Json):
    with pytest.raises(EncodeError, match=rf"^Cluster app/a:80: .*{next(iter(wrong))}"):
        encode(ResourceName(ResourceType.CLUSTER, "app/a:80"), wrong)


def test_a_resource_that_is_too_large_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    name = ResourceName(ResourceType.CLUSTER, "x")
    size = len(encode(name, RESOURCES[ResourceType.CLUSTER]).packed.value)
    monkeypatch.setattr(encoding, "RESOURCE_BYTES", size)
    encode(name, RESOURCES[ResourceType.CLUSTER])
    monkeypatch.setattr(encoding, "RESOURCE_BYTES", size - 1)
    with pytest.raises(EncodeError, match=f"Cluster x: has {size} bytes, more than {size - 1}"):
        encode(name, RESOURCES[ResourceType.CLUSTER])
