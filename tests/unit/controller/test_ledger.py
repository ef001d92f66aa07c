"""From what is stored and wanted to what is written."""

import json
from typing import Any

import pytest

from agent.controller.mesh import FEATURES, mesh_status
from agent.controller.status_store import StatusStore, Write
from agent.controller.stored import MESH, MESH_VERSION, ROUTES, Stored, controller_collections, decode_stored
from agent.ir.plan import Condition, Fragment, ParentStatus
from agent.model.change import Delete, Problem, Upsert
from agent.model.meta import CONTROLLER_NAME, Key
from agent.model.routes import ParentReference

NOW = "2026-01-01T00:00:00Z"
ROUTE = Key("HTTPRoute", "app", "web")
VERSION = "gateway.networking.k8s.io/v1"


def stored(version: int = 7, parents: list[Any] | None = None) -> Stored:
    meta = {"name": "web", "namespace": "app", "resourceVersion": str(version)}
    body = {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": meta, "status": {"parents": parents or []}}
    return decode_stored(json.dumps(body).encode())


def mesh(name: str = "weft", controller: str = CONTROLLER_NAME, **more: Any) -> Stored:
    meta = {"name": name, "resourceVersion": "3", "generation": 2}
    body = {"apiVersion": MESH_VERSION, "kind": MESH, "metadata": meta, "spec": {"controllerName": controller} | more}
    return decode_stored(json.dumps(body).encode())


def fragment(*names: str) -> Fragment:
    condition = Condition("Accepted", True, "Accepted", "", 1)
    parents = tuple(ParentStatus(ParentReference(name, "", "Service"), (condition,)) for name in names)
    return Fragment(statuses={ROUTE: parents} if parents else {})


@pytest.fixture
def statuses() -> StatusStore:
    made = StatusStore("weft")
    assert made.take(Upsert(stored())) == ROUTE
    return made


def test_a_route_that_is_none_of_ours_is_left_alone(statuses):
    statuses.store(stored(8, [{"controllerName": "example.org/x", "parentRef": {"name": "g"}, "conditions": []}]))
    assert statuses.write(ROUTE, NOW) is None


def test_a_wanted_status_is_a_patch_at_the_version_that_was_seen(statuses):
    assert statuses.want([(Fragment(), fragment("web"))]) == {ROUTE}
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    assert (write.method, write.path) == ("PATCH", f"/apis/{VERSION}/namespaces/app/httproutes/web/status")
    assert write.body["metadata"] == {"resourceVersion": "7"}
    statuses.store(stored(8, write.body["status"]["parents"]))
    assert statuses.write(ROUTE, "2026-02-02T00:00:00Z") is None


def test_our_entries_go_when_a_route_names_no_service_any_more(statuses):
    statuses.want([(Fragment(), fragment("web"))])
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    statuses.store(stored(8, write.body["status"]["parents"]))
    assert statuses.want([(fragment("web"), Fragment())]) == {ROUTE}
    assert statuses.write(ROUTE, NOW) == Write(
        "PATCH",
        f"/apis/{VERSION}/namespaces/app/httproutes/web/status",
        {"metadata": {"resourceVersion": "8"}, "status": {"parents": []}},
    )


def test_a_policy_has_its_entries_in_ancestors(statuses):
    """No kind of policy is stored yet: any kind that is no Route's is written so."""
    policy = Key("ExamplePolicy", "app", "web")
    body = {
        "apiVersion": "example.org/v1",
        "kind": policy.kind,
        "metadata": {"name": "web", "namespace": "app", "resourceVersion": "7"},
        "status": {"ancestors": [{"controllerName": "example.org/x", "ancestorRef": {"name": "g"}, "conditions": []}]},
    }
    statuses.store(decode_stored(json.dumps(body).encode()))
    (status,) = fragment("web").statuses.values()
    assert statuses.want([(Fragment(), Fragment(statuses={policy: status}))]) == {policy}
    write = statuses.write(policy, NOW)
    assert write is not None
    assert write.body["status"].keys() == {"ancestors"}
    other, ours = write.body["status"]["ancestors"]
    assert (other["controllerName"], ours["ancestorRef"]["name"]) == ("example.org/x", "web")


def test_an_echo_from_the_past_changes_nothing(statuses):
    statuses.want([(Fragment(), fragment("web"))])
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    statuses.store(stored(9, write.body["status"]["parents"]))
    statuses.take(Upsert(stored(8)))
    assert statuses.write(ROUTE, NOW) is None


def test_what_is_gone_is_not_written(statuses):
    statuses.want([(Fragment(), fragment("web"))])
    assert statuses.take(Delete(stored().key)) == ROUTE
    assert statuses.write(ROUTE, NOW) is None
    assert statuses.take(Delete(ROUTE)) is None


def test_an_xmesh_is_made_where_the_kind_is_known_and_none_is_there(statuses):
    own = statuses.own_mesh
    assert statuses.write(own, NOW) is None
    statuses.meshes_known = True
    write = statuses.write(own, NOW)
    assert write is not None
    assert (write.method, write.path) == ("POST", f"/apis/{MESH_VERSION}/xmeshes")
    assert (write.body["metadata"], write.body["spec"]) == ({"name": "weft"}, {"controllerName": CONTROLLER_NAME})


def test_an_xmesh_is_told_that_it_is_accepted_and_what_can_be_done(statuses):
    for found in (mesh(), mesh("another-of-ours")):
        write = statuses.write(statuses.store(found), NOW)
        assert write is not None
        assert write.path == f"/apis/{MESH_VERSION}/xmeshes/{found.metadata.name}/status"
        (accepted,) = write.body["status"]["conditions"]
        assert (accepted["status"], accepted["reason"], accepted["observedGeneration"]) == ("True", "Accepted", 2)
        assert found.metadata.name in accepted["message"]
        assert [item["name"] for item in write.body["status"]["supportedFeatures"]] == list(FEATURES)


def test_features_are_sorted_and_fit():
    assert list(FEATURES) == sorted(set(FEATURES))
    assert len(FEATURES) <= 64


def test_somebody_else_s_xmesh_is_left_alone(statuses):
    assert statuses.foreign_owner() == ""
    statuses.meshes_known = True
    target = statuses.store(mesh(controller="example.org/mesh"))
    assert target == statuses.own_mesh
    assert statuses.write(target, NOW) is None
    assert statuses.foreign_owner() == "example.org/mesh"


def test_parameters_are_refused_with_the_reason():
    (accepted,) = mesh_status(mesh(parametersRef={"kind": "ConfigMap"}), NOW)["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidParameters")


def test_a_route_is_told_twice_and_what_is_stored_also_when_it_cannot_be_read():
    found = {item.kind: item for item in controller_collections()}
    assert found.keys() == {"Service", "ServiceImport", *ROUTES, MESH}
    meta = {"name": "web", "namespace": "app", "resourceVersion": "7"}
    body: dict[str, Any] = {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": meta}
    values = found["HTTPRoute"].read(json.dumps(body).encode(), "here")
    assert not isinstance(values, Problem)
    assert [value.key.kind for value in values] == ["HTTPRoute", "StoredHTTPRoute"]
    bad = found["HTTPRoute"].read(json.dumps(body | {"spec": {"rules": 1}}).encode(), "here")
    assert isinstance(bad, Problem)
    assert [value.key.kind for value in bad.beside] == ["UnreadHTTPRoute", "StoredHTTPRoute"]
    assert isinstance(found["HTTPRoute"].read(json.dumps(body | {"status": 1}).encode(), "here"), Problem)
