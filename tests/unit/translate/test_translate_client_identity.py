"""The annotation `weft.dev/client-identity` of a Service: which listeners have it, and what Envoy needs for it."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from agent.ir.http import BackendPort, HTTPListenerIR, TLSListenerIR, TLSRule, WeightedBackend
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.model.change import Upsert
from agent.model.client_identity import CLIENT_IDENTITY
from agent.model.core import Pod, Service, ServicePort
from agent.model.meta import ObjectMeta
from agent.model.routes import BackendRef, HTTPRoute, L4RouteRule, TLSRoute, TLSRouteSpec
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.xds.cluster import cluster
from agent.waypoint.xds.identities import client_identities
from agent.waypoint.xds.passthrough import passthrough_listener
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.spiffe_ids import client_spiffe_ids
from support.parameters import parameters
from support.translate import PARENT, http_route, mesh, namespace, service, slice_of

WEB = ServiceAccount("app", "web")
HTTPS, HTTP, REDIS = ServicePort(443, "https"), ServicePort(80, "http"), ServicePort(6379, "redis")
ON_LOSS = {"weft.dev/on-waypoint-loss": "kernel"}
NO_HEADER = "have no header of the PROXY protocol"


def translated(value: str | None, *values: object) -> Translator:
    """The mesh with a Route, with this value of the annotation."""
    translator = Translator(Store(), Options("here"))
    changes = [*mesh(), Upsert(http_route()), *map(Upsert, values)]  # type: ignore[arg-type]
    for position, change in enumerate(changes):
        item = change.value if isinstance(change, Upsert) else None
        if isinstance(item, Service) and value is not None:
            noted = altered(item.metadata, annotations={CLIENT_IDENTITY: value})
            changes[position] = Upsert(altered(item, metadata=noted))
        if isinstance(item, Pod):
            changes[position] = Upsert(altered(item, spec=altered(item.spec, service_account_name="web")))
    translator.update(changes)
    return translator


def domains_of(translator: Translator) -> tuple[set[str], set[str], bool]:
    """The trust domains of listeners, that of the identities, and whether accounts are known."""
    outputs = translator.outputs.values()
    listeners = {it for output in outputs for it in output.listeners.values() if isinstance(it, HTTPListenerIR)}
    assert listeners
    domains = {output.trust_domain for output in outputs if output.trust_domain}
    return {it.xfcc_trust_domain for it in listeners}, domains, any(output.accounts for output in outputs)


def test_a_service_that_asks_for_it_has_the_trust_domain_of_the_mesh() -> None:
    assert domains_of(translated("xfcc")) == ({"cluster.local"}, {"cluster.local"}, True)
    other = parameters("Allow")
    other = altered(other, spec=altered(other.spec, trust_domain="example.org"))
    assert domains_of(translated("xfcc", other)) == ({"example.org"}, {"example.org"}, True)


@pytest.mark.parametrize("value", [None, "", "XFCC", "true"])
def test_no_other_value_has_an_effect(value: str | None) -> None:
    translator = translated(value)
    assert domains_of(translator) == ({""}, set(), False)
    warnings = [text for output in translator.outputs.values() for text in output.warnings if CLIENT_IDENTITY in text]
    message = f"{value!r} is neither xfcc nor proxy-protocol; ignored"
    expected = f"Service app/web: metadata.annotations[{CLIENT_IDENTITY}]: {message}"
    assert warnings == ([] if value is None else [expected])


def test_an_unknown_value_takes_nothing_from_the_others() -> None:
    translator = translated("xfcc,other, proxy-protocol ,")
    assert domains_of(translator) == ({"cluster.local"}, {"cluster.local"}, True)
    assert identity_texts(translator.outputs.values()) == ["'other,' is neither xfcc nor proxy-protocol; ignored"]


def test_a_very_long_value_is_one_short_warning() -> None:
    (text,) = identity_texts(translated("x," * 100_000).outputs.values())
    assert text == f"{('x,' * 20)!r} is neither xfcc nor proxy-protocol; ignored"


def test_envoy_tells_no_identity_where_no_service_asks_for_it() -> None:
    ir = HTTPListenerIR("app/web:80", "", 80, False, ())
    assert "request_headers_to_add" not in str(route_configuration(ir, {}, {}))
    assert "spiffe" not in str(client_identities({"10.1.0.9": WEB}))
    route = route_configuration(replace(ir, xfcc_trust_domain="example.org"), {}, {})
    assert "x-forwarded-client-cert" in str(route)
    assert "URI=spiffe://example.org/ns/app/sa/web" in str(client_identities({"10.1.0.9": WEB}, "example.org"))


def identity_texts(outputs: Iterable[Output]) -> list[str]:
    """The warnings about the annotation of the Service app/web, without their subject."""
    subject = f"Service app/web: metadata.annotations[{CLIENT_IDENTITY}]: "
    found = {text.removeprefix(subject) for output in outputs for text in output.warnings if CLIENT_IDENTITY in text}
    return sorted(found)


def with_annotations(item: Service, value: str | None, **others: str) -> Service:
    annotations = others if value is None else {CLIENT_IDENTITY: value, **others}
    return altered(item, metadata=altered(item.metadata, annotations=annotations))


def tls_route(*backends: str) -> TLSRoute:
    """A TLSRoute for the Service web."""
    rules = (L4RouteRule(tuple(BackendRef(name, port=443) for name in backends or ("web",))),)
    return TLSRoute(ObjectMeta("t", "app"), TLSRouteSpec(PARENT, (), rules))


def proxied(*values: object, ports: tuple[ServicePort, ...] = (HTTPS,), **others: str) -> Translator:
    """The mesh, where the Service web has these ports and asks for the PROXY protocol."""
    made = Translator(Store(), Options("here"))
    web = with_annotations(service("web", "10.96.0.1", *ports), "proxy-protocol", **others)
    made.update([*mesh(), Upsert(web), *map(Upsert, values)])  # type: ignore[arg-type]
    return made


def tls_backends(translator: Translator) -> dict[str, str]:
    """The trust domain of each backend of TLSRoutes."""
    listeners = [it for output in translator.outputs.values() for it in output.listeners.values()]
    found = [item for it in listeners if isinstance(it, TLSListenerIR) for item in it.backends]
    return {item.cluster: item.proxy_trust_domain for item in found}


def test_connections_to_a_service_that_asks_for_it_have_the_trust_domain_of_the_mesh() -> None:
    translator = proxied(tls_route())
    assert tls_backends(translator) == {"app/web:443/tcp": "cluster.local"}
    assert {output.trust_domain for output in translator.outputs.values()} == {"", "cluster.local"}
    assert identity_texts(translator.outputs.values()) == []
    translator.update([Upsert(with_annotations(service("web", "10.96.0.1", HTTPS), None))])
    assert tls_backends(translator) == {"app/web:443/tcp": ""}
    assert {output.trust_domain for output in translator.outputs.values()} == {""}


def test_each_backend_has_the_annotation_of_its_own_service() -> None:
    old = service("old", "10.96.0.2", HTTPS)
    translator = proxied(tls_route("web", "old"), old, slice_of("old"))
    assert tls_backends(translator) == {"app/old:443/tcp": "", "app/web:443/tcp": "cluster.local"}
    message = "app/old get no header of the PROXY protocol: the waypoint uses the annotation of each backend"
    assert identity_texts(translator.outputs.values()) == [message]


@pytest.mark.parametrize(
    ("values", "ports", "expected"),
    [
        ((), (HTTPS, REDIS), f"connections to ports 443, 6379 {NO_HEADER}: no TLSRoute applies there"),
        ((tls_route(),), (HTTPS, REDIS), f"connections to ports 6379 {NO_HEADER}: no TLSRoute applies there"),
        ((tls_route(), http_route()), (HTTPS, HTTP), f"connections to ports 80 {NO_HEADER}: no TLSRoute applies there"),
        (
            (tls_route(), namespace("app", "l4")),
            (HTTPS,),
            f"connections of clients that are not in mode l7 {NO_HEADER}: the Service is in mode l4",
        ),
    ],
    ids=["no-route", "another-port", "http", "l4"],
)
def test_connections_without_a_header_are_warned_of(
    values: tuple[object, ...], ports: tuple[ServicePort, ...], expected: str
) -> None:
    assert identity_texts(proxied(*values, ports=ports).outputs.values()) == [expected]


def test_a_service_that_goes_on_without_the_waypoint_is_warned_of() -> None:
    expected = f"connections {NO_HEADER} while the waypoint is lost: kernel is asked for"
    assert identity_texts(proxied(tls_route(), **ON_LOSS).outputs.values()) == [expected]


def test_a_headless_service_is_warned_of() -> None:
    expected = f"connections {NO_HEADER}: the Service is headless"
    headless = with_annotations(service("web", "None", HTTPS), "proxy-protocol")
    translator = Translator(Store(), Options("here"))
    translator.update([*mesh(), Upsert(headless)])
    assert identity_texts(translator.outputs.values()) == [expected]


def test_of_both_values_ports_of_http_are_not_expected_to_have_the_header() -> None:
    both = with_annotations(service("web", "10.96.0.1", HTTPS, HTTP, ServicePort(81, "x")), "xfcc,proxy-protocol")
    translator = Translator(Store(), Options("here"))
    route = http_route()
    assert isinstance(route, HTTPRoute)
    translator.update([*mesh(), Upsert(both), Upsert(route), Upsert(tls_route())])
    assert identity_texts(translator.outputs.values()) == []


def test_envoy_sends_a_header_only_where_it_is_asked_for() -> None:
    for domain, there in (("", False), ("example.org", True)):
        backend = BackendPort("app", "web", 443, "tcp", proxy_trust_domain=domain)
        rule = TLSRule("app/t/0", (), (WeightedBackend(backend, 1),))
        listener = passthrough_listener(TLSListenerIR("app/web:443", "", (rule,)), {}, Options())
        assert ("proxy_protocol_tlvs" in str(listener), "client-spiffe-ids" in str(listener)) == (there, there)
        assert ("ProxyProtocolUpstreamTransport" in str(cluster(backend))) == there
    named = client_spiffe_ids({"10.1.0.9": WEB}, "example.org")
    assert "spiffe://example.org/ns/app/sa/web" in str(named)
    assert "shadow_rules" not in str(client_spiffe_ids({}, "example.org"))
