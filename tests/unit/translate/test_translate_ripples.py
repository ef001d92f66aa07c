"""What a change makes the translator do, and where the ripple stops."""

import pytest
from msgspec.structs import replace

from agent.ir.identity import Workload
from agent.ir.plan import Output, PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.model.change import Delete, Synced, Upsert
from agent.model.facts import PodCgroup, RecentClient
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import AnyRoute
from agent.store.store import Store
from agent.translate.client_allow_list import allow_listed_clients
from agent.translate.incremental import CLIENT_ALLOW_LIST, Translator, Unit, depths
from agent.translate.options import Options
from agent.translate.routes.validate import Checked, check
from support.translate import endpoint, http_route, mesh, namespace, pod, service, slice_of, translator

WORKLOAD = Workload("app", "p", "p", "latest")


def kinds(update: dict[Unit, tuple[Output, Output]]) -> set[str]:
    return {f"{unit.kind} {unit.key.name}".strip() for unit in update}


def test_an_endpoint_changes_its_service_alone() -> None:
    made = translator()
    assert kinds(made.update([Upsert(slice_of("web", endpoint("10.1.0.3")))])) == {"service web"}


def test_what_says_the_same_changes_nothing() -> None:
    assert translator().update([*mesh(), Synced("source")]) == {}


def test_a_new_address_of_a_pod_reaches_the_allow_list_and_no_service() -> None:
    made = translator(http_route())
    assert kinds(made.update([Upsert(pod("client", "10.1.0.8"))])) == {"pod client", "client-allow-list"}


def test_a_listener_is_there_only_while_some_client_uses_it() -> None:
    made = translator(http_route())
    unit = Unit("service", Key("Service", "app", "web"))
    assert made.outputs[unit].listeners
    assert kinds(made.update([Delete(Key("PodCgroup", "", "uid-client"))])) == {
        "pod client",
        "service web",
        "client-allow-list",
    }
    assert not made.outputs[unit].listeners
    made.update([Upsert(PodCgroup("uid-client", 901))])
    assert made.outputs[unit].listeners


def test_the_kernel_has_an_answer_while_there_is_a_listener() -> None:
    made = translator(http_route())
    (plan,) = made.outputs[Unit("service", Key("Service", "app", "web"))].frontends.values()
    assert plan.listener == "app/web:80"
    assert len(plan.slots) == 2


def test_a_service_s_routes_are_judged_once_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def count(route: AnyRoute) -> Checked:
        judged.append(route.metadata.name)
        return check(route)

    monkeypatch.setattr("agent.translate.routes.binding.check", count)
    routes = [replace(http_route(), metadata=ObjectMeta(f"r{number}", "app")) for number in range(20)]
    made = translator(*routes)
    assert sorted(judged) == sorted(item.metadata.name for item in routes)
    made.update([Upsert(replace(routes[0], metadata=ObjectMeta("r0", "app", generation=2)))])
    assert len(judged) == len(routes) + 1


def test_a_backend_that_comes_later_resolves_the_route() -> None:
    made = translator(http_route(backend="later"))
    changed = made.update([Upsert(service("later", "10.96.0.9"))])
    assert kinds(changed) == {"service web", "service later", "status r"}


def test_a_second_pod_as_deep_as_the_first_changes_no_service() -> None:
    made = translator(http_route())
    changed = made.update([Upsert(pod("other", "10.1.0.7")), Upsert(PodCgroup("uid-other", 901))])
    assert kinds(changed) == {"pod other", "client-allow-list"}


def test_a_namespace_s_label_reaches_its_pods_and_services() -> None:
    changed = translator(http_route()).update([Upsert(namespace("app", "none"))])
    assert kinds(changed) == {"pod client", "service web", "client-allow-list"}


def test_deleting_everything_leaves_nothing_but_the_allow_list() -> None:
    made = translator(http_route())
    changes = [Delete(change.value.key) for change in mesh() if isinstance(change, Upsert)]
    made.update([*changes, Delete(http_route().key)])
    assert {unit.kind for unit in made.outputs} == {"client-allow-list"}


def test_depth_is_that_of_the_deepest_pod() -> None:
    pods = [
        PodPlan(Key("Pod", space, "p"), space, mode, PodFlag.NONE, (), WORKLOAD)
        for space, mode in (("app", Mode.L4), ("app", Mode.L7), ("shop", Mode.L4))
    ]
    assert depths(pods) == {"": Mode.L7, "app": Mode.L7, "shop": Mode.L4}


def test_allow_listed_are_addresses_by_namespace_each_once() -> None:
    pods = [
        PodPlan(Key("Pod", "app", "p"), "app", Mode.L4, PodFlag.NONE, (ip,), WORKLOAD)
        for ip in ("10.0.0.2", "10.0.0.1")
    ]
    assert allow_listed_clients(pods * 2) == {"app": ("10.0.0.1", "10.0.0.2")}


def test_only_pods_in_the_mesh_and_those_that_left_a_moment_ago_are_allow_listed() -> None:
    made = translator(http_route())
    fact = RecentClient(900)

    def allowed() -> set[str]:
        return set(made.outputs[CLIENT_ALLOW_LIST].client_allow_lists[""])

    (address,) = allowed()
    assert kinds(made.update([Upsert(fact)])) == set(), "it changes nothing while the pod is in the mesh"
    made.update([Upsert(namespace("app", "none"))])
    assert allowed() == {address}
    assert kinds(made.update([Delete(fact.key)])) == {"pod client", "client-allow-list"}
    assert allowed() == set()
    made.update([Upsert(namespace("app", "l4"))])
    assert allowed() == {address}


def test_kube_system_is_enrolled_only_when_the_agent_is_told_so() -> None:
    changes = [Upsert(namespace("kube-system", "l4")), Upsert(pod("dns", "10.1.0.5", "kube-system"))]
    for allowed_there, mode in ((False, Mode.NONE), (True, Mode.L4)):
        made = Translator(Store(), Options("here", allowed_there))
        made.update([*changes, Upsert(PodCgroup("uid-dns", 5))])
        assert made.outputs[Unit("pod", Key("Pod", "kube-system", "dns"))].pods[5].mode is mode
