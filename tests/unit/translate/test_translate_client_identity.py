"""The annotation `weft.dev/client-identity` of a Service: which listeners have it, and what Envoy needs for it."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from agent.ir.http import HTTPListenerIR
from agent.ir.policy import ServiceAccount
from agent.model.change import Upsert
from agent.model.client_identity import CLIENT_IDENTITY
from agent.model.core import Pod, Service
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.xds.identities import client_identities
from agent.waypoint.xds.route import route_configuration
from support.parameters import parameters
from support.translate import http_route, mesh

WEB = ServiceAccount("app", "web")


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
    expected = f"Service app/web: metadata.annotations[{CLIENT_IDENTITY}]: {value!r} is not xfcc; ignored"
    assert warnings == ([] if value is None else [expected])


def test_envoy_tells_no_identity_where_no_service_asks_for_it() -> None:
    ir = HTTPListenerIR("app/web:80", "", 80, False, ())
    assert "request_headers_to_add" not in str(route_configuration(ir, {}, {}))
    assert "spiffe" not in str(client_identities({"10.1.0.9": WEB}))
    route = route_configuration(replace(ir, xfcc_trust_domain="example.org"), {}, {})
    assert "x-forwarded-client-cert" in str(route)
    assert "URI=spiffe://example.org/ns/app/sa/web" in str(client_identities({"10.1.0.9": WEB}, "example.org"))
