"""List and watch as a state machine: what it asks, and what it says."""

from typing import Any

import pytest

from agent.kube.collection import collection, node_collections
from agent.kube.errors import UNREACHABLE, ApiError
from agent.kube.reflector import MAX_REJECTIONS, Reflector
from support.fakes.watch import event, item, page, texts


def expired() -> bytes:
    return event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


@pytest.fixture
def namespaces() -> Reflector:
    """At version 10, with the namespaces one and two."""
    made = Reflector(collection("Namespace"))
    assert texts(made.page(page(item("one", 3), item("two", 4)))) == ["+one", "+two"]
    return made


def test_a_list_comes_in_pages_and_is_complete_with_the_last():
    reflector = Reflector(collection("Namespace"))
    assert reflector.request().query == {"limit": "500"}
    assert texts(reflector.page(page(item("one", 3), more="next"))) == ["+one"]
    assert (reflector.synced, reflector.request().query) == (False, {"limit": "500", "continue": "next"})
    assert texts(reflector.page(page(item("two", 4)))) == ["+two"]
    assert reflector.synced


def test_the_watch_begins_where_the_list_ended_and_goes_on_from_the_last_event(namespaces):
    request = namespaces.request()
    assert request.watch
    assert (request.query["resourceVersion"], request.query["allowWatchBookmarks"]) == ("10", "true")
    namespaces.event(event("ADDED", item("three", 12)))
    assert namespaces.request().query["resourceVersion"] == "12"
    assert namespaces.event(event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})) == []
    assert namespaces.request().query["resourceVersion"] == "20"


def test_events_are_changes(namespaces):
    assert texts(namespaces.event(event("ADDED", item("three", 11)))) == ["+three"]
    assert texts(namespaces.event(event("MODIFIED", item("three", 12, a="b")))) == ["+three"]
    assert texts(namespaces.event(event("DELETED", item("three", 13)))) == ["-three"]


def test_what_weft_does_not_read_is_no_change(namespaces):
    assert namespaces.event(event("MODIFIED", item("one", 11) | {"status": {"phase": "Active"}})) == []


def test_an_event_that_was_told_by_the_list_too_is_no_change(namespaces):
    assert namespaces.event(event("ADDED", item("one", 11))) == []


@pytest.mark.parametrize("what", ["a version that is too old", "a version that was forgotten"])
def test_a_new_list_tells_the_difference_only(namespaces, what):
    if what == "a version that is too old":
        with pytest.raises(ApiError) as caught:
            namespaces.event(expired())
        namespaces.failed(caught.value)
    else:
        namespaces.failed(ApiError(410, "gone"))
    assert namespaces.request().query == {"limit": "500"}
    assert texts(namespaces.page(page(item("two", 30, x="y"), item("three", 31), version=40))) == [
        "+two",
        "+three",
        "-one",
    ]
    assert namespaces.request().query["resourceVersion"] == "40"


def test_nothing_is_deleted_before_the_last_page(namespaces):
    namespaces.failed(ApiError(410, "gone"))
    assert texts(namespaces.page(page(more="next"))) == []
    assert texts(namespaces.page(page(item("one", 3)))) == ["-two"]


def test_pages_that_expire_are_followed_by_one_whole_list(namespaces):
    namespaces.failed(ApiError(410, "gone"))
    namespaces.page(page(item("two", 4), more="next"))
    namespaces.failed(ApiError(410, "continue token expired"))
    assert namespaces.request().query == {}
    # What the first try saw counts no more.
    assert texts(namespaces.page(page(item("one", 3), version=50))) == ["-two"]
    namespaces.restart()
    assert namespaces.request().query == {"limit": "500"}


def test_a_server_that_is_away_changes_nothing(namespaces):
    for _ in range(100):
        namespaces.failed(ApiError(UNREACHABLE, "connection refused"))
        namespaces.failed(ApiError(429, "slow down", 1.0))
    assert namespaces.request().query["resourceVersion"] == "10"


def test_a_watch_that_is_refused_time_and_again_is_followed_by_a_list(namespaces):
    for _ in range(MAX_REJECTIONS - 1):
        namespaces.failed(ApiError(504, "Too large resource version"))
        assert namespaces.request().watch
    namespaces.failed(ApiError(504, "Too large resource version"))
    assert not namespaces.request().watch


def test_refusals_with_answers_in_between_do_not_add_up(namespaces):
    for number in range(MAX_REJECTIONS * 2):
        namespaces.failed(ApiError(500, "etcd leader changed"))
        namespaces.event(event("BOOKMARK", {"metadata": {"resourceVersion": str(20 + number)}}))
    assert namespaces.request().watch


@pytest.mark.parametrize("line", [b"<html>", b"[]", b'{"type": 3}', b'{"object": {}}'])
def test_what_is_no_event_is_an_error_and_then_a_list(namespaces, line):
    with pytest.raises(ApiError) as caught:
        namespaces.event(line)
    namespaces.failed(caught.value)
    assert not namespaces.request().watch


def test_what_is_no_list_is_an_error():
    with pytest.raises(ApiError):
        Reflector(collection("Namespace")).page(b"<html>")


def test_an_error_event_says_how_long_to_wait(namespaces):
    status = {"code": 429, "message": "slow down", "details": {"retryAfterSeconds": 7}}
    with pytest.raises(ApiError) as caught:
        namespaces.event(event("ERROR", status))
    assert (caught.value.status, caught.value.retry_after) == (429, 7.0)


def test_an_empty_list_may_be_null():
    reflector = Reflector(collection("Namespace"))
    assert reflector.page(b'{"metadata": {"resourceVersion": "1"}, "items": null}') == []
    assert reflector.synced


def service(version: int, *ports: dict[str, Any]) -> dict[str, Any]:
    return item("web", version, "app") | {"spec": {"clusterIP": "10.96.0.1", "ports": list(ports)}}


def test_a_hostile_object_keeps_what_it_was_and_hurts_no_neighbour():
    reflector = Reflector(collection("Service"))
    bad = service(3, {"port": "http"})
    assert texts(reflector.page(page(service(2, {"port": 80}), item("good", 3, "app")))) == ["+web", "+good"]
    assert texts(reflector.event(event("MODIFIED", bad))) == ["problem services/app/web"]
    assert reflector.event(event("MODIFIED", bad)) == []
    assert texts(reflector.event(event("MODIFIED", item("good", 5, "app", x="y")))) == ["+good"]
    assert texts(reflector.event(event("MODIFIED", service(6, {"port": 80})))) == ["resolved services/app/web"]
    assert reflector.event(event("MODIFIED", service(7, {"port": 80}))) == []


def test_a_hostile_object_survives_a_list_and_goes_when_it_is_gone():
    reflector = Reflector(collection("Service"))
    reflector.page(page(service(2, {"port": 80})))
    reflector.event(event("MODIFIED", service(3, {"port": -1})))
    reflector.restart()
    assert reflector.page(page(service(3, {"port": -1}))) == []
    reflector.restart()
    assert texts(reflector.page(page())) == ["-web", "resolved services/app/web"]


@pytest.mark.parametrize("hostile", [{"metadata": {"name": 7}}, {}, [], 3, None])
def test_an_object_without_a_name_is_a_problem_until_it_is_gone(hostile):
    reflector = Reflector(collection("Service"))
    assert texts(reflector.page(page(hostile, service(2, {"port": 80})))) == ["problem services", "+web"]
    reflector.restart()
    assert texts(reflector.page(page(service(2, {"port": 80})))) == ["resolved services"]


def test_a_kind_that_is_gone_takes_its_objects_with_it(namespaces):
    assert sorted(texts(namespaces.forget())) == ["-one", "-two"]
    assert namespaces.objects == 0


def test_of_nodes_and_pods_only_what_is_here_is_asked_for():
    queries = {item.kind: Reflector(item).request().query for item in node_collections("n1")}
    cached = {"limit": "500", "resourceVersion": "0"}
    assert queries.pop("Node") == cached | {"fieldSelector": "metadata.name=n1"}
    assert queries.pop("Pod") == cached | {"fieldSelector": "spec.nodeName=n1"}
    assert all(query == {"limit": "500"} for query in queries.values())


def test_the_pods_of_a_node_come_from_the_server_s_cache_once():
    (pods,) = (one for one in node_collections("n1") if one.plural == "pods")
    reflector = Reflector(pods)
    assert reflector.request().query == {"fieldSelector": "spec.nodeName=n1", "limit": "500", "resourceVersion": "0"}
    reflector.page(page(version=10, more="next"))
    assert "resourceVersion" not in reflector.request().query
    reflector.page(page(version=10))
    reflector.failed(ApiError(410, "too old"))
    assert reflector.request().query == {"fieldSelector": "spec.nodeName=n1", "limit": "500"}


def test_a_server_that_refuses_its_cache_is_asked_for_a_quorum():
    (pods,) = (one for one in node_collections("n1") if one.plural == "pods")
    reflector = Reflector(pods)
    reflector.failed(ApiError(UNREACHABLE, "away"))
    assert reflector.request().query["resourceVersion"] == "0"
    reflector.failed(ApiError(400, "no"))
    assert "resourceVersion" not in reflector.request().query
