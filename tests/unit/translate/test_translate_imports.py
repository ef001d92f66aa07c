"""ServiceImports: whose endpoints, which ports, what a change of one reaches, and how they are called."""

from ipaddress import ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from agent.explain.dns import resolve
from agent.ir.http import BackendPort
from agent.ir.plan import FrontendPlan
from agent.ir.services import service_key, service_name
from agent.ir.tables import Mode, address_text
from agent.model.change import Delete, Upsert
from agent.model.core import (
    Namespace,
    Node,
    NodeAddress,
    NodeStatus,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServicePort,
)
from agent.model.discovery import MANAGED_BY, OF_PODS, EndpointSlice
from agent.model.meta import Key, ObjectMeta
from agent.model.multicluster import GROUP, ServiceImport, ServiceImportSpec, ServiceImportStatus
from agent.model.routes import BackendRef, HTTPRoute, HTTPRouteSpec, L4RouteRule, L4RouteSpec, ParentReference, TCPRoute
from agent.store.mode import MODE_LABEL
from agent.translate.incremental import Translator, Unit
from agent.translate.options import Options
from agent.translate.slots import shares
from support.translate import endpoint, pod, service, slice_of, translator, view_of

IMPORT = Key("ServiceImport", "app", "web")
UNIT = Unit("service", IMPORT)
RANGE = ServiceCIDR(ObjectMeta("kubernetes"), ServiceCIDRSpec(("10.112.0.0/16",)))


def imported(*ips: str, **fields: Any) -> ServiceImport:
    ports = (ServicePort(80, "http"),)
    return ServiceImport(ObjectMeta("web", "app"), ServiceImportSpec(ips=ips or ("10.112.0.1",), ports=ports, **fields))


def slice_of_import(*addresses: str) -> EndpointSlice:
    found = slice_of("web", *(endpoint(address) for address in addresses))
    labels = {"multicluster.kubernetes.io/service-name": "web"}
    return replace(found, metadata=ObjectMeta("imported-web", "app", labels=labels))


def with_import(*more: object) -> Translator:
    made = translator(RANGE)
    made.update([Upsert(value) for value in (imported(), slice_of_import("10.2.0.1"), *more)])  # type: ignore[arg-type]
    return made


def frontends(made: Translator) -> list[FrontendPlan]:
    return list(made.outputs[UNIT].frontends.values())


def backends(plan: FrontendPlan) -> set[str]:
    return {address_text(found[0]) for found in shares(plan.slots) if found is not None}


def test_an_import_has_the_endpoints_of_its_own_slices_and_a_service_of_that_name_keeps_its() -> None:
    made = with_import()
    (plan,) = frontends(made)
    assert (plan.service, backends(plan)) == (IMPORT, {"10.2.0.1"})
    (local,) = made.outputs[Unit("service", Key("Service", "app", "web"))].frontends.values()
    assert backends(local) == {"10.1.0.1", "10.1.0.2"}


def test_a_slice_that_comes_changes_its_import_alone() -> None:
    made = with_import()
    changed = made.update([Upsert(slice_of_import("10.2.0.1", "10.2.0.2"))])
    assert changed.keys() == {UNIT}


def test_an_import_that_goes_leaves_nothing() -> None:
    made = with_import()
    made.update([Delete(IMPORT)])
    assert UNIT not in made.outputs


def test_without_slices_and_routes_an_import_is_left_to_its_maker() -> None:
    made = with_import()
    made.update([Delete(slice_of_import().key)])
    assert UNIT not in made.outputs
    parent = ParentReference("web", GROUP, "ServiceImport")
    route = TCPRoute(ObjectMeta("r", "app"), L4RouteSpec((parent,), (L4RouteRule((BackendRef("web", port=80),)),)))
    made.update([Upsert(route)])
    assert [backends(plan) for plan in frontends(made)] == [{"10.1.0.1", "10.1.0.2"}]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (imported(type="Headless"), "is headless"),
        (replace(imported(), spec=ServiceImportSpec()), "has no cluster set IP yet"),
        (replace(imported(), status=ServiceImportStatus("Absent")), "has no EndpointSlices"),
        (replace(imported(), status=ServiceImportStatus("Present")), ""),
    ],
)
def test_why_an_import_has_no_frontend(item: ServiceImport, why: str) -> None:
    assert item.without_frontend.startswith(why)
    assert bool(item.without_frontend) == bool(why)
    assert bool(item.cluster_ips) != bool(why)


def test_a_label_on_the_import_says_its_mode() -> None:
    made = with_import(Namespace(ObjectMeta("app", labels={MODE_LABEL: "l4"})))
    assert [plan.mode for plan in frontends(made)] == [Mode.L4]
    made.update([Upsert(replace(imported(), metadata=ObjectMeta("web", "app", labels={MODE_LABEL: "l7"})))])
    assert [plan.mode for plan in frontends(made)] == [Mode.L7]


@pytest.mark.parametrize("group", ["", "core", "gateway.networking.k8s.io"])
def test_the_group_is_part_of_the_name(group: str) -> None:
    made = translator(
        HTTPRoute(ObjectMeta("r", "app"), HTTPRouteSpec((ParentReference("web", group, "ServiceImport"),)))
    )
    assert not any(item.statuses for item in made.outputs.values())


@pytest.mark.parametrize("kind", ["Service", "ServiceImport"])
def test_a_name_says_what_it_names(kind: str) -> None:
    key = Key(kind, "app", "web")
    assert service_key(service_name(key)) == key
    assert BackendPort.of(key, 80, "http").key == key


def test_the_two_of_one_name_are_not_called_alike() -> None:
    names = {service_name(Key(kind, "app", "web")) for kind in ("Service", "ServiceImport")}
    assert names == {"app/web", "app/web.clusterset"}


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("web.app.svc.clusterset.local", "10.112.0.1"),
        ("web.app.svc.cluster.local", "10.96.0.1"),
        ("web.app", "10.96.0.1"),
        ("web.other.svc.clusterset.local", ""),
    ],
)
def test_a_simulated_pod_finds_it_in_the_cluster_set_s_domain(host: str, found: str) -> None:
    view = view_of(imported(), service("web", "10.96.0.1"))
    assert resolve(view, host, "app").address == found


def addresses(made: Translator) -> set[str]:
    return {name.address for name in made.outputs[UNIT].frontends} if UNIT in made.outputs else set()


def of_pods(name: str, address: str) -> EndpointSlice:
    """A slice that the control plane made."""
    found = slice_of(name, endpoint(address))
    labels = found.metadata.labels | {MANAGED_BY: OF_PODS}
    return replace(found, metadata=ObjectMeta(f"{name}-1", "app", labels=labels))


def selecting(name: str, address: str) -> Service:
    found = service(name, address)
    return replace(found, spec=replace(found.spec, selector={"app": name}))


def test_without_a_range_an_import_has_only_what_a_service_of_its_namespace_has() -> None:
    made = with_import()
    assert addresses(made) == {"10.112.0.1"}
    made.update([Delete(RANGE.key)])
    assert addresses(made) == set()
    assert "10.112.0.1 is not used: no Service of this namespace has it" in made.outputs[UNIT].warnings[0]
    derived = service("derived", "10.112.0.1")
    made.update([Upsert(derived)])
    assert addresses(made) == {"10.112.0.1"}
    foreign = replace(derived, metadata=ObjectMeta("derived", "shop"))
    made.update([Delete(derived.key), Upsert(foreign)])
    assert addresses(made) == set()


def test_ranges_of_the_settings_replace_those_of_the_cluster() -> None:
    made = translator(RANGE, options=Options("here", clusterset_cidrs=(ip_network("243.0.0.0/8"),)))
    made.update([Upsert(imported("10.112.0.1", "243.7.7.7")), Upsert(slice_of_import("10.2.0.1"))])
    assert addresses(made) == {"243.7.7.7"}


def test_who_is_known_to_have_an_address_keeps_it_while_it_has_it() -> None:
    made = with_import()
    holders = (
        pod("here", "10.112.0.1"),
        Node(ObjectMeta("here"), NodeStatus((NodeAddress("10.112.0.1", "InternalIP"),))),
    )
    for holder in holders:
        changed = made.update([Upsert(holder)])
        assert addresses(made) == set()
        assert UNIT in changed
        assert f"{holder.key} has it" in made.outputs[UNIT].warnings[0]
        made.update([Delete(holder.key)])
        assert addresses(made) == {"10.112.0.1"}


def test_an_endpoint_is_one_s_where_the_control_plane_says_so_and_not_where_anybody_does() -> None:
    made = with_import(selecting("chosen", "10.96.0.7"), service("by-hand", "10.96.0.8"))
    for found in (of_pods("by-hand", "10.112.0.1"), slice_of("chosen", endpoint("10.112.0.1"))):
        made.update([Upsert(found)])
        assert addresses(made) == {"10.112.0.1"}, "anybody could write it, and have another's import refused"
    made.update([Upsert(of_pods("chosen", "10.112.0.1"))])
    assert addresses(made) == set()
    made.update([Upsert(of_pods("chosen", "10.1.0.77"))])
    assert addresses(made) == {"10.112.0.1"}


def test_an_address_in_a_v4_mapped_form_is_the_same_address() -> None:
    made = with_import(service("own", "10.112.0.9"))
    made.update([Upsert(replace(service("own", "10.112.0.9"), metadata=ObjectMeta("own", "shop")))])
    made.update([Delete(Key("Service", "app", "own")), Upsert(imported("::ffff:10.112.0.9", "::ffff:10.112.0.1"))])
    assert addresses(made) == {"10.112.0.1"}
