"""From what is stored and wanted to what is written."""

import json
from typing import Any

import pytest

from agent.controller.mesh import FEATURES
from agent.controller.status_store import StatusStore, Write
from agent.controller.stored import MESH, MESH_VERSION, ROUTES, Stored, controller_collections, decode_stored
from agent.ir.plan import Condition, Output, ParentStatus
from agent.model.authorization import KIND
from agent.model.change import Delete, Problem, Upsert
from agent.model.meta import CONTROLLER_NAME, Key, ObjectMeta
from agent.model.parameters import MeshSpec, XMesh
from agent.model.routes import ParentReference
from agent.translate.mesh_status import translate_mesh_status
from agent.translate.policy_status import translate_policy_status
from support.policies import POLICY, policy
from support.translate import view_of

NOW = "2026-01-01T00:00:00Z"
ROUTE = Key("HTTPRoute", "app", "web")
VERSION = "gateway.networking.k8s.io/v1"


def stored(version: int = 7, parents: list[Any] | None = None) -> Stored:
    meta = {"name": "web", "namespace": "app", "resourceVersion": str(version)}
    body = {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": meta, "status": {"parents": parents or []}}
    return decode_stored(json.dumps(body).encode())


def mesh(name: str = "weft", controller: str = CONTROLLER_NAME) -> Stored:
    meta = {"name": name, "resourceVersion": "3", "generation": 2}
    body = {"apiVersion": MESH_VERSION, "kind": MESH, "metadata": meta, "spec": {"controllerName": controller}}
    return decode_stored(json.dumps(body).encode())


def mesh_output(name: str) -> Output:
    found = XMesh(ObjectMeta(name, generation=2), MeshSpec(CONTROLLER_NAME))
    return translate_mesh_status(view_of(found), found.key)


def output(*names: str) -> Output:
    condition = Condition("Accepted", True, "Accepted", "", 1)
    parents = tuple(ParentStatus(ParentReference(name, "", "Service"), (condition,)) for name in names)
    return Output(statuses={ROUTE: parents} if parents else {})


@pytest.fixture
def statuses() -> StatusStore:
    made = StatusStore("weft")
    assert made.update(Upsert(stored())) == ROUTE
    return made


def test_a_route_that_is_none_of_ours_is_left_alone(statuses):
    statuses.store(stored(8, [{"controllerName": "example.org/x", "parentRef": {"name": "g"}, "conditions": []}]))
    assert statuses.write(ROUTE, NOW) is None


def test_a_wanted_status_is_a_patch_at_the_version_that_was_seen(statuses):
    assert statuses.set_desired([(Output(), output("web"))]) == {ROUTE}
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    assert (write.method, write.path) == ("PATCH", f"/apis/{VERSION}/namespaces/app/httproutes/web/status")
    assert write.body["metadata"] == {"resourceVersion": "7"}
    statuses.store(stored(8, write.body["status"]["parents"]))
    assert statuses.write(ROUTE, "2026-02-02T00:00:00Z") is None


def test_our_entries_go_when_a_route_names_no_service_any_more(statuses):
    statuses.set_desired([(Output(), output("web"))])
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    statuses.store(stored(8, write.body["status"]["parents"]))
    assert statuses.set_desired([(output("web"), Output())]) == {ROUTE}
    assert statuses.write(ROUTE, NOW) == Write(
        "PATCH",
        f"/apis/{VERSION}/namespaces/app/httproutes/web/status",
        {"metadata": {"resourceVersion": "8"}, "status": {"parents": []}},
    )


def policy_status(statuses: StatusStore, *entries: Any) -> Write | None:
    """The write of a policy that is accepted, where these entries are stored."""
    body = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": POLICY.kind,
        "metadata": {"name": "p", "namespace": "app", "resourceVersion": "7"},
        "status": {"ancestors": list(entries)},
    }
    statuses.store(decode_stored(json.dumps(body).encode()))
    view = view_of(policy())
    statuses.set_desired([(Output(), translate_policy_status(view, POLICY))])
    return statuses.write(POLICY, NOW)


def test_a_policy_has_its_entries_in_ancestors(statuses):
    theirs = {"controllerName": "example.org/x", "ancestorRef": {"name": "g"}, "conditions": []}
    write = policy_status(statuses, theirs)
    assert write is not None
    path = "/apis/weft.dev/v1alpha1/namespaces/app/authorizationpolicies/p/status"
    assert (write.path, write.body["status"].keys()) == (path, {"ancestors"})
    other, ours = write.body["status"]["ancestors"]
    assert (other, ours["controllerName"]) == (theirs, CONTROLLER_NAME)


def test_the_ancestor_of_a_policy_is_our_xmesh_and_without_one_its_namespace(statuses):
    def ancestors() -> list[Any]:
        write = policy_status(statuses)
        assert write is not None
        return [entry["ancestorRef"] for entry in write.body["status"]["ancestors"]]

    namespace = {"group": "", "kind": "Namespace", "name": "app"}
    assert ancestors() == [namespace]
    statuses.store(mesh(controller="example.org/mesh"))
    assert ancestors() == [namespace]
    statuses.store(mesh())
    assert ancestors() == [{"group": "gateway.networking.x-k8s.io", "kind": "XMesh", "name": "weft"}]
    assert statuses.policies == {POLICY}


def test_an_entry_moves_to_the_xmesh(statuses):
    before = policy_status(statuses)
    statuses.store(mesh())
    assert before is not None
    after = policy_status(statuses, *before.body["status"]["ancestors"])
    assert after is not None
    assert [entry["ancestorRef"]["kind"] for entry in after.body["status"]["ancestors"]] == ["XMesh"]
    assert policy_status(statuses, *after.body["status"]["ancestors"]) is None


def test_an_echo_from_the_past_changes_nothing(statuses):
    statuses.set_desired([(Output(), output("web"))])
    write = statuses.write(ROUTE, NOW)
    assert write is not None
    statuses.store(stored(9, write.body["status"]["parents"]))
    statuses.update(Upsert(stored(8)))
    assert statuses.write(ROUTE, NOW) is None


def test_what_is_gone_is_not_written(statuses):
    statuses.set_desired([(Output(), output("web"))])
    assert statuses.update(Delete(stored().key)) == ROUTE
    assert statuses.write(ROUTE, NOW) is None
    assert statuses.update(Delete(ROUTE)) is None


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
        statuses.set_desired([(Output(), mesh_output(found.metadata.name))])
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


def test_a_route_is_told_twice_and_what_is_stored_also_when_it_cannot_be_read():
    found = {item.kind: item for item in controller_collections()}
    assert found.keys() == {"Service", "ServiceImport", "MeshParameters", *ROUTES, KIND, MESH}
    meta = {"name": "web", "namespace": "app", "resourceVersion": "7"}
    body: dict[str, Any] = {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": meta}
    values = found["HTTPRoute"].read(json.dumps(body).encode(), "here")
    assert not isinstance(values, Problem)
    assert [value.key.kind for value in values] == ["HTTPRoute", "StoredHTTPRoute"]
    bad = found["HTTPRoute"].read(json.dumps(body | {"spec": {"rules": 1}}).encode(), "here")
    assert isinstance(bad, Problem)
    assert [value.key.kind for value in bad.facts] == ["UndecodableHTTPRoute", "StoredHTTPRoute"]
    assert isinstance(found["HTTPRoute"].read(json.dumps(body | {"status": 1}).encode(), "here"), Problem)
