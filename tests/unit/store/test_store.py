"""The store: what a change touches, and what it leaves alone."""

import pytest

from agent.ir.tables import Mode
from agent.model.change import Change, Delete, Problem, Synced, Upsert
from agent.model.core import Namespace, Pod, Service, ServiceSpec
from agent.model.discovery import EndpointSlice
from agent.model.facts import AccountPod, PodCgroup
from agent.model.meta import Key, ObjectMeta
from agent.model.multicluster import AnyService, ServiceImport, ServiceImportSpec
from agent.model.routes import HTTPRoute, HTTPRouteSpec, ParentReference
from agent.store.mode import MODE_LABEL
from agent.store.store import Store, TrackedView


def service_ref(name: str, namespace: str | None = None, group: str = "") -> ParentReference:
    return ParentReference(name, group, "Service", namespace)


def route(*refs: ParentReference, name: str = "r", namespace: str = "app") -> HTTPRoute:
    return HTTPRoute(ObjectMeta(name, namespace), HTTPRouteSpec(parent_refs=refs))


def slice_of(service: str, name: str = "s") -> EndpointSlice:
    return EndpointSlice(ObjectMeta(name, "app", labels={"kubernetes.io/service-name": service}))


def labelled(value: str | None) -> Namespace:
    return Namespace(ObjectMeta("app", labels={} if value is None else {MODE_LABEL: value}))


def test_a_new_value_touches_its_object() -> None:
    touched = Store().apply([Upsert(Service(ObjectMeta("web", "app")))])
    assert ("object", "Service", "app", "web") in touched


def test_an_equal_value_touches_nothing() -> None:
    store = Store()
    store.apply([Upsert(Service(ObjectMeta("web", "app")))])
    assert store.apply([Upsert(Service(ObjectMeta("web", "app")))]) == set()


def test_deleting_what_is_not_there_touches_nothing() -> None:
    assert Store().apply([Delete(Key("Service", "app", "web"))]) == set()


def test_what_is_no_value_touches_nothing() -> None:
    assert Store().apply([Synced("source"), Problem("file", "it", "$", "is bad")]) == set()


def test_a_slice_that_moves_touches_both_services() -> None:
    store = Store()
    store.apply([Upsert(slice_of("old"))])
    touched = store.apply([Upsert(slice_of("new"))])
    assert {("slices", "Service", "app", "old"), ("slices", "Service", "app", "new")} <= touched
    view = TrackedView(store)
    assert view.slices(Key("Service", "app", "old")) == []
    assert view.slices(Key("Service", "app", "new")) == [slice_of("new")]


def test_a_deleted_slice_is_found_no_more() -> None:
    store = Store()
    store.apply([Upsert(slice_of("web"))])
    assert ("slices", "Service", "app", "web") in store.apply([Delete(slice_of("web").key)])
    assert TrackedView(store).slices(Key("Service", "app", "web")) == []


def test_a_slice_can_be_a_service_s_and_an_import_s() -> None:
    labels = {"kubernetes.io/service-name": "derived-1", "multicluster.kubernetes.io/service-name": "web"}
    both = EndpointSlice(ObjectMeta("web-1", "app", labels=labels))
    store = Store()
    store.apply([Upsert(both)])
    view = TrackedView(store)
    assert view.slices(Key("Service", "app", "derived-1")) == view.slices(Key("ServiceImport", "app", "web")) == [both]
    assert view.slices(Key("Service", "app", "web")) == []


def claiming(kind: type[AnyService], name: str, namespace: str = "app", born: str = "2026-01-01") -> AnyService:
    meta = ObjectMeta(name, namespace, creation_timestamp=born)
    if kind is Service:
        return Service(meta, ServiceSpec(cluster_ip="10.96.0.1"))
    return ServiceImport(meta, ServiceImportSpec(ips=("10.96.0.1",)))


@pytest.mark.parametrize(
    ("claims", "owner"),
    [
        ([claiming(Service, "new", born="2026-02-01"), claiming(Service, "old")], "old"),
        ([claiming(ServiceImport, "new", born="2026-02-01"), claiming(ServiceImport, "old", "other")], "old"),
        ([claiming(Service, "derived"), claiming(ServiceImport, "web", born="2026-02-01")], "web"),
        ([claiming(Service, "web", born="2026-02-01"), claiming(ServiceImport, "thief", "other")], "web"),
    ],
)
def test_an_address_is_the_oldest_service_s_or_its_own_import_s(claims: list[AnyService], owner: str) -> None:
    store = Store()
    store.apply([Upsert(item) for item in claims])
    found = TrackedView(store).service_at("10.96.0.1")
    assert found is not None
    assert found.metadata.name == owner


@pytest.mark.parametrize("group", ["", "core"])
def test_routes_are_found_by_their_parent_service(group: str) -> None:
    store = Store()
    store.apply([Upsert(route(service_ref("web", group=group)))])
    assert [found.metadata.name for found in TrackedView(store).routes(Key("Service", "app", "web"), "app")] == ["r"]


def test_a_gateway_is_no_parent_of_ours() -> None:
    store = Store()
    store.apply([Upsert(route(ParentReference("web"), ParentReference("web", "", "Gateway")))])
    assert TrackedView(store).routes(Key("Service", "app", "web"), "app") == []


def test_a_route_for_another_namespace_makes_its_own_a_consumer() -> None:
    store = Store()
    store.apply([Upsert(route(service_ref("web", "app"), namespace="shop")), Upsert(route(service_ref("web")))])
    view = TrackedView(store)
    assert view.has_consumer_routes("shop")
    assert not view.has_consumer_routes("app")
    for namespace in ("app", "shop"):
        (found,) = view.routes(Key("Service", "app", "web"), namespace)
        assert found.metadata.namespace == namespace
    assert view.has_routes(Key("Service", "app", "web"))
    assert not view.has_routes(Key("Service", "app", "web"), "other")


def test_a_pod_is_known_by_its_cgroup_in_any_order() -> None:
    store = Store()
    assert TrackedView(store).cgroup("uid") is None
    assert ("PodCgroup", "uid") in store.apply([Upsert(PodCgroup("uid", 7))])
    assert TrackedView(store).cgroup("uid") == 7


def test_what_units_share_is_made_once_until_what_it_read_changes() -> None:
    store = Store()
    made: list[str] = []

    def make(view: TrackedView) -> int:
        made.append("")
        return len(view.routes(Key("Service", "app", "web"), "app"))

    views = [TrackedView(store) for _ in range(3)]
    assert [view.memo(("count", "web"), make) for view in views] == [0, 0, 0]
    assert all(view.reads == {("routes", "Service", "app", "web", "app")} for view in views)
    store.apply([Upsert(route(service_ref("other")))])
    store.set_computed("depth", {"": Mode.L7})
    assert TrackedView(store).memo(("count", "web"), make) == 0
    assert len(made) == 1
    store.apply([Upsert(route(service_ref("web")))])
    assert TrackedView(store).memo(("count", "web"), make) == 1
    assert len(made) == 2


def test_what_is_shared_can_be_made_of_what_is_derived() -> None:
    store = Store()
    assert TrackedView(store).memo(("deep",), lambda view: view.computed("depth", "")) is None
    store.set_computed("depth", {"": Mode.L7})
    assert TrackedView(store).memo(("deep",), lambda view: view.computed("depth", "")) is Mode.L7


def test_every_way_of_reading_is_noted() -> None:
    view = TrackedView(Store())
    view.get(Pod, "app", "p")
    view.route(Key("HTTPRoute", "app", "r"))
    view.slices(Key("Service", "app", "web"))
    view.routes(Key("Service", "app", "web"), "app")
    view.cgroup("uid")
    view.sandbox("uid")
    view.has_consumer_routes("app")
    view.mode("Pod", "app", "p")
    view.computed("depth", "app")
    assert view.reads == {
        ("object", "Pod", "app", "p"),
        ("object", "HTTPRoute", "app", "r"),
        ("slices", "Service", "app", "web"),
        ("routes", "Service", "app", "web", "app"),
        ("PodCgroup", "uid"),
        ("PodSandbox", "uid"),
        ("consumers", "app"),
        ("mode", "Pod", "app", "p"),
        ("depth", "app"),
    }


@pytest.mark.parametrize("text", ["none", "l4", "l7"])
def test_a_mode_is_read_from_its_label(text: str) -> None:
    store = Store()
    store.apply([Upsert(labelled(text))])
    assert TrackedView(store).mode("Namespace", "", "app") == (Mode[text.upper()], "")


@pytest.mark.parametrize("before", [[], [labelled("l4")], [labelled("l7"), labelled("none")]])
@pytest.mark.parametrize("text", ["L7", "l5", ""])
def test_a_wrong_label_is_as_none_whatever_was_before(text: str, before: list[Namespace]) -> None:
    """An agent that saw the label before has the same mode as one that starts now."""
    store = Store()
    for value in [*before, labelled(text)]:
        store.apply([Upsert(value)])
    mode, warning = TrackedView(store).mode("Namespace", "", "app")
    assert mode is None
    assert warning == f"Namespace app: metadata.labels[weft.dev/mode]: {text!r} is none of none, l4, l7; ignored"


@pytest.mark.parametrize("change", [Upsert(labelled(None)), Delete(Key("Namespace", "", "app"))])
def test_a_label_that_is_gone_is_forgotten(change: Upsert | Delete) -> None:
    store = Store()
    store.apply([Upsert(labelled("l4"))])
    assert ("mode", "Namespace", "", "app") in store.apply([change])
    assert TrackedView(store).mode("Namespace", "", "app") == (None, "")


def test_a_change_that_is_not_of_the_label_does_not_touch_the_mode() -> None:
    store = Store()
    store.apply([Upsert(Namespace(ObjectMeta("app", labels={MODE_LABEL: "l4"})))])
    touched = store.apply([Upsert(Namespace(ObjectMeta("app", labels={MODE_LABEL: "l4", "team": "blue"})))])
    assert touched == {("object", "Namespace", "", "app")}


def test_derived_answers_touch_only_what_differs() -> None:
    store = Store()
    assert store.set_computed("depth", {"app": Mode.L4, "shop": Mode.L4}) == {("depth", "app"), ("depth", "shop")}
    assert store.set_computed("depth", {"app": Mode.L4, "shop": Mode.L7}) == {("depth", "shop")}
    assert store.set_computed("allow-listed-clients", {"": ()}) == {("allow-listed-clients", "")}
    assert store.set_computed("depth", {}) == {("depth", "app"), ("depth", "shop")}
    assert TrackedView(store).computed("depth", "app") is None


def test_keys_are_found_by_kind() -> None:
    store = Store()
    store.apply([Upsert(Service(ObjectMeta(name, "app"))) for name in "ba"] + [Upsert(labelled("l4"))])
    assert store.keys(Service) == [Key("Service", "app", "a"), Key("Service", "app", "b")]


def test_the_nodes_of_an_account_change_with_its_first_and_last_pod_there() -> None:
    store = Store()

    def pod(name: str, node: str, account: str = "web", watch: str = "web") -> AccountPod:
        return AccountPod("app", name, account, ("10.0.0.1",), name, "", watch, node)

    def touched(*changes: Change) -> set[str]:
        return {key[2] for key in store.apply(changes) if key[0] == "nodes"}

    def nodes(account: str) -> frozenset[str]:
        return TrackedView(store).nodes("app", account)

    assert touched(Upsert(pod("a", "n1"))) == {"web", "*"}
    assert touched(Upsert(pod("b", "n1")), Upsert(pod("a", "n1", watch="*"))) == set(), "the node runs it already"
    assert touched(Upsert(pod("c", "n2", "api"))) == {"api", "*"}
    assert (nodes("web"), nodes("api"), nodes("*")) == ({"n1"}, {"n2"}, {"n1", "n2"})
    assert touched(Delete(pod("a", "n1").key), Delete(pod("a", "n1", watch="*").key)) == set()
    assert touched(Upsert(pod("b", "n3"))) == {"web", "*"}
    assert touched(Delete(pod("b", "n3").key), Delete(pod("c", "n2").key)) == {"web", "api", "*"}
    assert not nodes("*") | nodes("web") | nodes("api")
