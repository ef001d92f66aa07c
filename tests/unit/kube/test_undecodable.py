"""Routes that cannot be read: what can be told of them, and what of them stays in force."""

import json
from typing import Any

import pytest

from agent.kube.collection import collection
from agent.kube.reflector import Reflector
from agent.model.change import Change, Delete, Problem, Resolved, Upsert
from agent.model.meta import Key
from agent.model.routes import HTTPRoute, ParentReference, UndecodableRoute
from agent.store.store import Store
from agent.translate.incremental import STATUS_KINDS, Translator
from agent.translate.options import Options

ROUTE = Key("HTTPRoute", "app", "r")
SERVICE = {"group": "", "kind": "Service", "name": "web"}
GOOD = [{"backendRefs": [{"name": "web", "port": 80}]}]
BAD = [{"backendRefs": [{"name": "web", "port": "http"}]}]


def raw(rules: Any, *parents: Any, version: int = 1, **metadata: Any) -> bytes:
    meta = {"namespace": "app", "name": "r", "generation": version, "resourceVersion": str(version)}
    spec = {"parentRefs": list(parents) or [SERVICE], "rules": rules}
    return json.dumps({"metadata": meta | metadata, "spec": spec}).encode()


def event(what: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}' % (what.encode(), body)


def read(body: bytes) -> Problem:
    found = collection("HTTPRoute").read(body, "here")
    assert isinstance(found, Problem)
    return found


def undecodable(body: bytes) -> UndecodableRoute:
    (found,) = read(body).facts
    assert isinstance(found, UndecodableRoute)
    return found


def test_a_route_that_cannot_be_read_says_what_is_wrong_and_whose_it_is():
    found = undecodable(raw(BAD, SERVICE, {"name": "gateway"}, version=3))
    assert (found.route, found.generation) == (ROUTE, 3)
    assert found.field == "spec.rules[0].backendRefs[0].port"
    assert found.parent_refs == (ParentReference("web", "", "Service"), ParentReference("gateway"))


@pytest.mark.parametrize("wrong", [7, None, [], {}, {"name": 7}, {**SERVICE, "port": 70000}])
def test_parents_that_cannot_be_read_are_left_out(wrong: Any):
    assert [ref.name for ref in undecodable(raw(BAD, wrong, SERVICE)).parent_refs] == ["web"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"metadata": []}',
        raw(BAD, name=7),
        raw(BAD, namespace=None),
        raw(BAD, generation="one"),
        b"[" * 100_000,
    ],
)
def test_nothing_is_told_of_what_does_not_say_which_it_is(body: bytes):
    assert read(body).facts == ()


NO_SPECS = [b"[]", b"7", b'"x"', b'{"parentRefs": 7}', b'{"parentRefs": {}, "rules": 7}']


def without_spec(spec: bytes) -> bytes:
    return b'{"metadata": {"namespace": "app", "name": "r", "generation": 9}, "spec": %s}' % spec


@pytest.mark.parametrize("spec", NO_SPECS)
def test_of_a_spec_that_is_none_no_parents_can_be_read(spec: bytes):
    assert undecodable(without_spec(spec)).parent_refs is None


def test_a_spec_without_parents_has_none():
    assert undecodable(without_spec(b'{"rules": 7}')).parent_refs == ()


@pytest.mark.parametrize("spec", NO_SPECS)
def test_of_a_spec_that_is_none_the_parents_in_force_are_told(spec: bytes):
    route_log = RouteStatusLog()
    assert route_log.after("ADDED", without_spec(spec)) == [], "there is no parent to tell it at"
    route_log.after("MODIFIED", raw(GOOD, version=2))
    ((accepted, kept, generation),) = route_log.after("MODIFIED", without_spec(spec))
    assert (accepted, generation) == (False, 9)
    assert kept.startswith("spec")
    assert kept.endswith("generation 2, the last that could be read, stays in force where it was read")


def test_other_kinds_have_no_status_of_ours():
    problem = collection("Service").read(b'{"metadata": {"namespace": "app", "name": "r"}, "spec": 7}', "here")
    assert isinstance(problem, Problem)
    assert problem.facts == ()


@pytest.fixture
def reflector() -> Reflector:
    """With one Route, as it should be."""
    made = Reflector(collection("HTTPRoute"))
    made.page(b'{"metadata": {"resourceVersion": "1"}, "items": [%s]}' % raw(GOOD))
    return made


def texts(changes: list[Change]) -> list[str]:
    """Changes by what they are and are about."""
    names = {Upsert: "+", Delete: "-", Problem: "problem", Resolved: "resolved"}
    keys = [change.value.key if isinstance(change, Upsert) else getattr(change, "key", None) for change in changes]
    return [f"{names[type(it)]} {key.kind if key else ''}".strip() for it, key in zip(changes, keys, strict=True)]


def test_the_last_good_version_stays_while_the_newer_one_is_told_of(reflector):
    assert texts(reflector.event(event("MODIFIED", raw(BAD, version=2)))) == ["+ UndecodableHTTPRoute", "problem"]
    assert texts(reflector.event(event("MODIFIED", raw(BAD, version=2)))) == []
    assert texts(reflector.event(event("MODIFIED", raw(BAD, version=3)))) == ["+ UndecodableHTTPRoute"]
    assert texts(reflector.event(event("MODIFIED", raw(GOOD, version=4)))) == [
        "- UndecodableHTTPRoute", "+ HTTPRoute", "resolved"
    ]  # fmt: skip


def test_a_route_that_is_deleted_while_it_cannot_be_read_is_gone_whole(reflector):
    reflector.event(event("MODIFIED", raw(BAD, version=2)))
    changes = reflector.event(event("DELETED", raw(BAD, version=3)))
    assert sorted(texts(changes)) == ["- HTTPRoute", "- UndecodableHTTPRoute", "resolved"]
    assert reflector.objects == 0


def test_what_stayed_is_what_was_last_good_not_what_was_told_beside(reflector):
    reflector.event(event("MODIFIED", raw(BAD, version=2)))
    changes = reflector.event(event("MODIFIED", b'{"metadata": {"namespace": "app", "name": "r"}, "spec": []}'))
    (route_log,) = (change.value for change in changes if isinstance(change, Upsert))
    assert route_log == UndecodableRoute(ROUTE, 0, None, "spec", "Expected `object`, got `array`")


class RouteStatusLog:
    """What a Route's status says as changes come in."""

    def __init__(self) -> None:
        self.translator = Translator(Store(), Options(), STATUS_KINDS)
        self.reflector = Reflector(collection("HTTPRoute"))
        self.reflector.page(b'{"metadata": {"resourceVersion": "1"}, "items": []}')

    def after(self, what: str, body: bytes) -> list[tuple[bool, str, int]]:
        self.translator.update(self.reflector.event(event(what, body)))
        found = [item for output in self.translator.outputs.values() for item in output.statuses.get(ROUTE, ())]
        accepted = [item for parent in found for item in parent.conditions if item.type == "Accepted"]
        return [(item.status, item.message, item.observed_generation) for item in accepted]


def test_the_status_follows_what_can_be_read():
    route_log = RouteStatusLog()
    why = "spec.rules[0].backendRefs[0].port: Expected `int | null`, got `str`"
    assert route_log.after("ADDED", raw(BAD, version=1)) == [(False, why, 1)]
    ((accepted, missing, generation),) = route_log.after("MODIFIED", raw(GOOD, version=2))
    assert (accepted, generation) == (False, 2)
    assert missing == "Service app/web does not exist"
    ((_, kept, generation),) = route_log.after("MODIFIED", raw(BAD, version=3))
    assert kept == f"{why}; generation 2, the last that could be read, stays in force where it was read"
    assert generation == 3
    assert route_log.after("MODIFIED", raw(BAD, {"name": "gateway"}, version=4)) == []
    assert route_log.after("DELETED", raw(BAD, version=5)) == []
    assert route_log.after("ADDED", raw(BAD, version=6)) == [(False, why, 6)]


def test_the_kept_version_goes_on_routing():
    route_log = RouteStatusLog()
    route_log.after("ADDED", raw(GOOD, version=1))
    route_log.after("MODIFIED", raw(BAD, version=2))
    (kept,) = [value for value in route_log.reflector._known[("app", "r")] if isinstance(value, HTTPRoute)]  # type: ignore[index]
    assert kept.metadata.generation == 1
